//! Units of measure as integer newtypes.
//!
//! Promises: equality is exact and the unit is in the type's name; conversions to floats exist for people
//! only and are named so. Never: a float on the wire, a unit guessed from context.

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $raw);
    };
}

unit! {
    /// Temperature in 1/128 degC: exact for TMP117, TMP102, MCP9808, MCP9600 and LM75.
    Celsius128(i32)
}
unit! {
    /// Latitude or longitude in 1e-7 degree (u-blox NAV-PVT, UBX protocol specification).
    Degrees1e7(i32)
}
unit! {
    /// Length in millimetres.
    Millimetres(i32)
}
unit! {
    /// Horizontal accuracy in millimetres.
    AccuracyMm(u32)
}
unit! {
    /// Ground speed in millimetres per second.
    MillimetresPerSecond(i32)
}
unit! {
    /// Course over ground in 1e-5 degree, 0 to 36,000,000.
    Course1e5(i32)
}
unit! {
    /// Dilution of precision times 100 (pDOP from UBX, HDOP from NMEA).
    DopCenti(u16)
}

impl Celsius128 {
    /// Counts per degree Celsius.
    pub const PER_DEGREE: i32 = 128;

    /// Degrees Celsius, for people.
    #[must_use]
    pub fn as_degrees_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Self::PER_DEGREE)
    }
}

impl Degrees1e7 {
    /// Degrees, for people.
    #[must_use]
    pub fn as_degrees_f64(self) -> f64 {
        f64::from(self.0) / 1e7
    }
}

/// The unit of a scalar reading; an open set, so that an old reader keeps what it does not know.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Unit(pub u8);

impl Unit {
    /// A bare number.
    pub const NONE: Self = Self(0);
    /// Degrees Celsius.
    pub const CELSIUS: Self = Self(1);
    /// Degrees of arc.
    pub const DEGREE: Self = Self(2);
    /// Per cent (relative humidity, fuel level).
    pub const PERCENT: Self = Self(3);
    /// Volt.
    pub const VOLT: Self = Self(4);
    /// Ampere.
    pub const AMPERE: Self = Self(5);
    /// Pascal.
    pub const PASCAL: Self = Self(6);
    /// Litre.
    pub const LITRE: Self = Self(7);
    /// Metre.
    pub const METRE: Self = Self(8);
    /// Metre per second.
    pub const METRE_PER_SECOND: Self = Self(9);
    /// Second.
    pub const SECOND: Self = Self(10);
    /// Byte.
    pub const BYTE: Self = Self(11);
    /// A count of things.
    pub const COUNT: Self = Self(12);

    /// The symbol that people read; `"?"` for a unit this reader does not know.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::NONE => "",
            Self::CELSIUS => "degC",
            Self::DEGREE => "deg",
            Self::PERCENT => "%",
            Self::VOLT => "V",
            Self::AMPERE => "A",
            Self::PASCAL => "Pa",
            Self::LITRE => "l",
            Self::METRE => "m",
            Self::METRE_PER_SECOND => "m/s",
            Self::SECOND => "s",
            Self::BYTE => "B",
            Self::COUNT => "count",
            _ => "?",
        }
    }
}
