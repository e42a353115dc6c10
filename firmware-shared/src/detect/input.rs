//! What the detector is given: one value, or the fact that there is none, and what else is known.
//!
//! Promises: an absent or impossible value is a kind of its own, so that nothing is learned from it.
//! Never: a number that stands for "no value".

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The sensor or the bus said so, or the reading did not come.
    NoReading,
    /// The number is not finite.
    NotFinite,
    /// The part cannot have measured it (power-on codes, bus patterns, out of its range).
    OutOfRange,
}

/// Channels that a gateway may know beside the value. They explain normal life.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Channels {
    /// What the controller tries to hold, in the unit of the value.
    pub set_point: Option<f64>,
    /// Whether the door is open (or the unit is off for loading).
    pub door: Option<bool>,
    /// Whether the unit is defrosting.
    pub defrost: Option<bool>,
    /// Temperature outside, in the unit of the value.
    pub ambient: Option<f64>,
}

/// One reading for one stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input {
    /// The value, or why there is none.
    pub value: Result<f64, Invalid>,
    /// What else is known at that moment.
    pub channels: Channels,
}

impl Input {
    /// A value without channels; a number that is not finite becomes [`Invalid::NotFinite`].
    #[must_use]
    pub fn value(value: f64) -> Self {
        Self::with_channels(value, Channels::default())
    }

    /// A value with channels.
    #[must_use]
    pub fn with_channels(value: f64, channels: Channels) -> Self {
        let value = if value.is_finite() {
            Ok(value)
        } else {
            Err(Invalid::NotFinite)
        };
        Self { value, channels }
    }

    /// No value, and why.
    #[must_use]
    pub fn invalid(why: Invalid) -> Self {
        Self {
            value: Err(why),
            channels: Channels::default(),
        }
    }
}
