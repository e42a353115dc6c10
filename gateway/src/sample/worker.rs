//! The thread of one bus.
//!
//! Promises: it waits until the earliest turn is due, on a channel that ends the wait when the gateway
//! stops. Never: more than one bus in a thread, or a turn that waits for the queue.

use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::{BusHandle, Device, LinuxBus, Output, SensorBoard};
use crate::clock::StampClock;
use crate::config::SensorConfig;
use crate::sequencer::Issuer;
use sensor_drivers::sim::SimBus;

/// Enough for the drivers (a few KiB of frames) and the logger, small enough for many buses.
pub const STACK_LEN: usize = 256 * 1024;
/// The longest wait between two looks at the clock; suspend does not count in a wait, but in stamps.
const WAIT_MS_MAX: u64 = 1000;

/// What a bus thread works on.
#[derive(Debug)]
pub struct BusWorker {
    devices: Vec<(usize, Device<BusHandle>)>,
    world: Option<SimBus>,
    clock: StampClock,
    issuer: Issuer,
    board: SensorBoard,
}

impl BusWorker {
    /// A worker for the sensors of a bus; `first_position` is the place of the first on the board.
    #[must_use]
    pub fn new(
        sensors: &[SensorConfig],
        first_position: usize,
        handle: impl Fn() -> BusHandle,
        clock: StampClock,
        issuer: Issuer,
        board: SensorBoard,
    ) -> Self {
        let now_ms = clock.now().stamp_ms;
        let world = match handle() {
            BusHandle::Sim(bus) => Some(bus),
            BusHandle::Linux(_) => None,
        };
        let device = |(at, sensor)| (first_position + at, Device::new(sensor, handle(), now_ms));
        let devices = sensors.iter().enumerate().map(device).collect();
        Self {
            devices,
            world,
            clock,
            issuer,
            board,
        }
    }

    /// A handle of a device file for each call.
    pub fn linux(path: &std::path::Path) -> impl Fn() -> BusHandle + use<> {
        let path = path.to_owned();
        move || BusHandle::Linux(LinuxBus::new(path.clone()))
    }

    /// Works until the channel is closed.
    pub fn run(mut self, stop: &Receiver<()>) {
        loop {
            let wait = self.turns();
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Gives every device that is due its turn; how long to wait for the next one.
    pub fn turns(&mut self) -> Duration {
        let Self {
            devices,
            world,
            clock,
            issuer,
            board,
        } = self;
        for (position, device) in devices.iter_mut() {
            let now_ms = clock.now().stamp_ms;
            if device.due_ms() > now_ms {
                continue;
            }
            if let Some(world) = world {
                world.advance_to(now_ms);
            }
            device.turn(now_ms, &mut |output| send(issuer, output));
            board.set(*position, device.state());
        }
        self.wait()
    }

    fn wait(&self) -> Duration {
        let due_ms = self.devices.iter().map(|(_, device)| device.due_ms()).min();
        let now = self.clock.now();
        match due_ms {
            Some(due_ms) if due_ms <= now.stamp_ms => Duration::ZERO,
            Some(due_ms) => {
                let real_ms = self.clock.real_ms(due_ms).saturating_sub(now.real_ms);
                Duration::from_millis(real_ms.clamp(1, WAIT_MS_MAX))
            }
            None => Duration::from_millis(WAIT_MS_MAX),
        }
    }
}

/// What does not fit is a loss under its number (a reading) or comes again (an anchor).
fn send(issuer: &Issuer, output: Output) {
    match output {
        Output::Reading(reading) => drop(issuer.issue(reading)),
        Output::Anchor(anchor) => drop(issuer.anchor(anchor)),
    }
}
