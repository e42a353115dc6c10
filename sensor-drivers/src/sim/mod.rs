//! Simulated chips below the drivers, at register level, behind `embedded_hal::i2c::I2c`.
//!
//! Promises: the real drivers run unchanged; time is virtual and moves only when told to
//! ([`SimBus::advance_to`]); the bus refuses what a BCM2835 refuses; what the chips handed out is
//! written to a truth file by the chips, before the driver sees it, with code that shares no
//! decoding with the drivers. The world is a function of the scenario file and virtual time, so a
//! restarted process finds the same world, further on.
//!
//! Never: a clock, a thread, a delay.
//!
//! A scenario file is described in `SCENARIOS.md` of this crate, the truth file in [`truth`].

pub mod boot;
mod broadcast;
pub mod bus;
pub mod clock;
mod conversion;
#[cfg(test)]
mod drives;
pub mod fault;
mod fifo;
pub mod lm75;
pub mod log;
pub mod mcp960x;
pub mod mcp9808;
pub mod mt3333;
pub mod profile;
mod random;
mod registers;
pub mod route;
pub mod scenario;
pub mod sht4x;
pub mod tmp102;
pub mod tmp117;
pub mod truth;
pub mod ublox;

pub use boot::SimBootId;
pub use bus::{SimBus, SimBusError, SimChip};
pub use clock::SimClock;
pub use fault::{Fault, FaultScript};
pub use scenario::{Scenario, ScenarioError};

/// A bus with its chips, and the clock that drives it.
#[derive(Debug, Clone)]
pub struct SimWorld {
    /// The bus; clones share it.
    pub bus: SimBus,
    /// From the real boot clock to the scenario's.
    pub clock: SimClock,
    /// The boot of the machine in this world: the same as long as its truth file says so.
    pub boot_id: SimBootId,
}

/// A span of virtual time: `from_ms` is inside, `to_ms` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First millisecond inside.
    pub from_ms: u64,
    /// First millisecond behind it.
    pub to_ms: u64,
}

impl Window {
    /// Whether `at_ms` is inside.
    #[must_use]
    pub fn contains(&self, at_ms: u64) -> bool {
        (self.from_ms..self.to_ms).contains(&at_ms)
    }
}
