//! What can go wrong with a sensor, split by what the caller must do.
//!
//! Promises: every error names the register it happened at or the value that was refused, and
//! [`SensorError::advice`] turns it into one action. Never: a decision taken from
//! `embedded_hal::i2c::ErrorKind` alone, because on Linux an absent chip arrives there as `Other`.

use core::fmt;

use crate::adapter::Adapter;

/// The kind of bus failure, independent of the adapter that reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BusClass {
    /// Nobody acknowledged: absent, unpowered, or busy converting.
    NoAck,
    /// Another master won the bus.
    Arbitration,
    /// The controller gave up waiting: the bus hangs.
    Timeout,
    /// Clock stretched for too long, or fewer bytes moved than asked for.
    StretchOrLength,
    /// A kernel driver owns this address.
    ClaimedByKernel,
    /// The adapter cannot do this kind of transfer.
    Unsupported,
    /// Anything else, with the adapter's own number.
    Other(i32),
}

impl BusClass {
    /// The class of a Linux error number of an adapter that is not known; an unknown number is
    /// kept as [`BusClass::Other`].
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        Adapter::Other.class(errno)
    }

    /// What the caller should do about a failure of this class.
    #[must_use]
    pub fn advice(self) -> Advice {
        match self {
            Self::Arbitration => Advice::RetryNow,
            Self::StretchOrLength => Advice::RetryLater,
            Self::Timeout => Advice::RecoverBus,
            Self::NoAck | Self::Other(_) => Advice::Reinitialise,
            Self::ClaimedByKernel | Self::Unsupported => Advice::GiveUp,
        }
    }
}

impl fmt::Display for BusClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAck => f.write_str("no acknowledge"),
            Self::Arbitration => f.write_str("arbitration lost"),
            Self::Timeout => f.write_str("bus hung"),
            Self::StretchOrLength => f.write_str("clock stretched too long or transfer too short"),
            Self::ClaimedByKernel => f.write_str("address is owned by a kernel driver"),
            Self::Unsupported => f.write_str("transfer not supported by the adapter"),
            Self::Other(number) => write!(f, "bus error {number}"),
        }
    }
}

/// Implemented by whoever supplies the bus, because only it knows its error numbers.
pub trait ClassifyBus {
    /// The class of this bus error.
    fn class(&self) -> BusClass;
}

impl ClassifyBus for embedded_hal::i2c::ErrorKind {
    fn class(&self) -> BusClass {
        match self {
            Self::NoAcknowledge(_) => BusClass::NoAck,
            Self::ArbitrationLoss => BusClass::Arbitration,
            Self::Bus => BusClass::StretchOrLength,
            _ => BusClass::Other(0),
        }
    }
}

/// One action for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// The same call may be repeated at once.
    RetryNow,
    /// The same call may be repeated at the next turn.
    RetryLater,
    /// Back off, then `start` again: the part has lost its state, or may have.
    Reinitialise,
    /// The whole bus is stuck; no part on it will answer.
    RecoverBus,
    /// Repeating cannot help; a person must change something.
    GiveUp,
}

/// A driver was asked for something it cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    /// Which setting.
    pub key: &'static str,
    /// What was asked for.
    pub value: i64,
    /// What would have been accepted.
    pub allowed: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} is not allowed: use {}",
            self.key, self.value, self.allowed
        )
    }
}

/// A sensor did not give a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensorError<E> {
    /// The bus failed.
    Bus {
        /// What kind of failure.
        class: BusClass,
        /// The register that was being accessed.
        register: u8,
        /// The adapter's own error.
        source: E,
    },
    /// No fresh conversion yet; nothing is wrong.
    NotReady,
    /// The checksum behind an answer is another one.
    Crc {
        /// The register or command whose answer it is.
        register: u8,
        /// The checksum of the bytes that arrived.
        computed: u8,
        /// The checksum that arrived.
        received: u8,
    },
    /// Another part answers at this address.
    WrongDevice {
        /// The identity it gave.
        found: u16,
    },
    /// The part has gone back to its defaults: it lost power in between.
    ConfigurationLost {
        /// The configuration register as read.
        found: u16,
        /// The configuration that was written.
        expected: u16,
    },
    /// The part answered with a code that is not a measurement.
    Implausible {
        /// The code as read.
        raw: i32,
    },
    /// A setting was refused before anything went to the bus.
    Config(ConfigError),
}

impl<E: ClassifyBus> SensorError<E> {
    /// Wraps an adapter's error with the register at which it happened.
    pub fn bus(register: u8, source: E) -> Self {
        Self::Bus {
            class: source.class(),
            register,
            source,
        }
    }
}

impl<E> SensorError<E> {
    /// What the caller should do.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Bus { class, .. } => class.advice(),
            Self::NotReady | Self::Crc { .. } | Self::Implausible { .. } => Advice::RetryLater,
            Self::ConfigurationLost { .. } => Advice::Reinitialise,
            Self::WrongDevice { .. } | Self::Config(_) => Advice::GiveUp,
        }
    }
}

impl<E> fmt::Display for SensorError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus {
                class, register, ..
            } => write!(f, "{class} at register {register:#04x}"),
            Self::NotReady => f.write_str("no fresh conversion yet"),
            Self::Crc {
                register,
                computed,
                received,
            } => write!(
                f,
                "checksum {received:#04x} instead of {computed:#04x} at register {register:#04x}"
            ),
            Self::WrongDevice { found } => write!(f, "another part answers: identity {found:#06x}"),
            Self::ConfigurationLost { found, expected } => write!(
                f,
                "configuration lost: register reads {found:#06x}, {expected:#06x} was written"
            ),
            Self::Implausible { raw } => write!(f, "code {raw} is not a measurement"),
            Self::Config(config) => config.fmt(f),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for SensorError<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_error_numbers_of_all_adapters_map_to_one_class() {
        let expected = [
            (121, BusClass::NoAck, Advice::Reinitialise),
            (6, BusClass::NoAck, Advice::Reinitialise),
            (5, BusClass::StretchOrLength, Advice::RetryLater),
            (110, BusClass::Timeout, Advice::RecoverBus),
            (11, BusClass::Arbitration, Advice::RetryNow),
            (16, BusClass::ClaimedByKernel, Advice::GiveUp),
            (95, BusClass::Unsupported, Advice::GiveUp),
            (19, BusClass::Other(19), Advice::Reinitialise),
        ];
        for (errno, class, advice) in expected {
            assert_eq!(BusClass::from_errno(errno), class);
            assert_eq!(class.advice(), advice, "errno {errno}");
        }
    }

    #[test]
    fn an_error_names_its_register_and_the_value_it_refused() {
        extern crate std;
        use std::string::ToString;
        let bus = SensorError::bus(0x0f, embedded_hal::i2c::ErrorKind::ArbitrationLoss);
        assert_eq!(bus.to_string(), "arbitration lost at register 0x0f");
        assert_eq!(bus.advice(), Advice::RetryNow);
        let crc: SensorError<()> = SensorError::Crc {
            register: 0xfd,
            computed: 0x92,
            received: 0x93,
        };
        assert_eq!(
            crc.to_string(),
            "checksum 0x93 instead of 0x92 at register 0xfd"
        );
        assert_eq!(crc.advice(), Advice::RetryLater);
        let config: SensorError<()> = SensorError::Config(ConfigError {
            key: "chunk_len",
            value: 1,
            allowed: "8 to 256",
        });
        assert_eq!(
            config.to_string(),
            "chunk_len = 1 is not allowed: use 8 to 256"
        );
        assert_eq!(config.advice(), Advice::GiveUp);
    }
}
