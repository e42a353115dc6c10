//! A USB device that lives in this process: what QEMU's `usb-redir` shows to the guest.
//!
//! ```text
//! guest: fleet-gateway -> /dev/i2c-N -> i2c-tiny-usb -> xHCI
//!                                                        |  QEMU
//! here:  SimBus <- Adapter <- Redirection <- unix socket -+
//! ```
//!
//! Promises: each I2C message of the guest reaches the simulated bus as one message, in order, with the
//! guest's bytes; a message that the bus does not acknowledge is a NAK to the guest. Never: a bulk,
//! interrupt or isochronous transfer: this adapter has none.

pub mod adapter;
pub mod server;
pub mod wire;

pub use adapter::Adapter;
pub use server::Redirection;
