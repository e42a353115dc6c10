//! Drivers for the gateway's sensors: pure codecs, thin blocking drivers over
//! [`embedded_hal::i2c::I2c`], one error model, and (feature `sim`) register-level simulated chips.
//!
//! ```text
//!  error     what can go wrong, and what to do about it
//!  adapter   what a Linux error number means, by adapter
//!  tmp117 mcp9808 tmp102 lm75      thermometers: codec + driver
//!  sht4x     thermometer and hygrometer with a checksum
//!  mcp960x   thermocouple converters
//!  nmea ubx  GNSS sentences and frames: pure, integers only
//!  gnss      byte stream -> frames -> one event for each epoch, from a bus, a port or a recording
//!  mt3333    NMEA receivers at 0x10
//!  ublox     u-blox receiver over DDC (I2C): drains, configures, falls back to NMEA
//!  asynchronous  the same drivers over embedded-hal-async (feature `async`)
//!  sim       simulated chips behind the same bus trait, with virtual time (needs std)
//! ```
//!
//! Promises: no heap, no floats and no delays outside `sim`; time is a parameter (`now_ms`,
//! milliseconds since boot); bad input is an error or is counted, it never panics and never
//! becomes a value. A driver uses three kinds of transaction, which every Linux adapter can do:
//! write, read, and write-then-read; none of them is ever empty.
//!
//! Never: a clock, a thread, a retry loop, or knowledge of the gateway's wire format.

#![cfg_attr(not(feature = "sim"), no_std)]

pub mod adapter;
#[cfg(feature = "async")]
pub mod asynchronous;
pub mod error;
pub mod gnss;
pub mod lm75;
pub mod mcp960x;
pub mod mcp9808;
pub mod mt3333;
pub mod nmea;
pub mod sht4x;
#[cfg(feature = "sim")]
pub mod sim;
pub mod tmp102;
pub mod tmp117;
pub mod ublox;
pub mod ubx;

mod running;
mod shell;
#[cfg(test)]
mod transcript;
mod transfer;
mod word;

pub use adapter::Adapter;
pub use error::{Advice, BusClass, ClassifyBus, ConfigError, SensorError};
pub use running::RunningSample;
