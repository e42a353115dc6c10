//! The thread of one bus, or of one source that has none.
//!
//! Promises: it waits until the earliest turn is due, on a channel that ends the wait when the gateway
//! stops; that every address of a bus fails alike is said once, about the bus. Never: more than one bus in
//! a thread, or a turn that waits for the queue.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use sensor_drivers::sim::SimBus;

use super::chip::Chip;
use super::device::{Device, Output};
use super::outage::Outage;
use super::source::Source;
use super::{BusHandle, LinuxBus, SensorBoard, host};
use crate::clock::StampClock;
use crate::config::{HostConfig, SensorConfig, Source as SourceConfig};
use crate::sequencer::Issuer;

/// Enough for the drivers (a few KiB of frames) and the logger, small enough for many buses.
pub const STACK_LEN: usize = 256 * 1024;
/// The longest wait between two looks at the clock; suspend does not count in a wait, but in stamps.
const WAIT_MS_MAX: u64 = 1000;
/// The longest wait of a source that waits by itself: how late it hears of a stop.
const OWN_WAIT_MS_MAX: u64 = 200;

/// What every worker needs.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// What stamps are.
    pub clock: StampClock,
    /// Gives numbers.
    pub issuer: Issuer,
    /// Shows states.
    pub board: SensorBoard,
}

/// A device with the places of its sensors on the board.
#[derive(Debug)]
struct Seat<S> {
    first: usize,
    count: usize,
    device: Device<S>,
}

/// What a thread works on.
#[derive(Debug)]
struct Worker<S> {
    seats: Vec<Seat<S>>,
    world: Option<SimBus>,
    outage: Option<Outage>,
    workplace: Workplace,
}

/// The work of a bus.
#[derive(Debug)]
pub struct BusWorker(Worker<Chip<BusHandle>>);

/// The work of a sensor without a bus.
#[derive(Debug)]
pub struct HostWorker(Worker<host::AnySource>);

impl BusWorker {
    /// A worker for the sensors of bus number `bus`; `first` is the place of the first on the board.
    #[must_use]
    pub fn new(
        bus: u8,
        sensors: &[SensorConfig],
        first: usize,
        handle: impl Fn() -> BusHandle,
        workplace: Workplace,
    ) -> Self {
        let now_ms = workplace.clock.now().stamp_ms;
        let world = match handle() {
            BusHandle::Sim(bus, _) => Some(bus),
            BusHandle::Linux(_) => None,
        };
        let mut seats: Vec<Seat<_>> = Vec::new();
        for (at, sensor) in sensors.iter().enumerate() {
            let SourceConfig::Part { driver, address } = sensor.source else {
                continue;
            };
            let companion = sensors
                .iter()
                .find(|other| other.source == SourceConfig::Companion { of: sensor.index });
            let chip = Chip::new(driver, handle(), address);
            let index = companion.map(|companion| companion.index);
            seats.push(Seat {
                first: first + at,
                count: 1 + usize::from(companion.is_some()),
                device: Device::new(sensor, index, chip, now_ms),
            });
        }
        Self(Worker {
            seats,
            world,
            outage: Some(Outage::new(bus)),
            workplace,
        })
    }

    /// A handle of a device file for each call.
    pub fn linux(path: &Path, sysfs: &Path) -> impl Fn() -> BusHandle + use<> {
        let (path, sysfs) = (path.to_owned(), sysfs.to_owned());
        move || BusHandle::Linux(LinuxBus::new(path.clone(), &sysfs))
    }

    /// Works until the channel is closed.
    pub fn run(self, stop: &Receiver<()>) {
        self.0.run(stop);
    }
}

impl HostWorker {
    /// A worker for a sensor; `None` when it has no source of its own. `place` is its place on the board.
    #[must_use]
    pub fn new(
        sensor: &SensorConfig,
        place: usize,
        host: &HostConfig,
        workplace: Workplace,
    ) -> Option<Self> {
        let SourceConfig::Host(source) = &sensor.source else {
            return None;
        };
        let now_ms = workplace.clock.now().stamp_ms;
        let source = host::open(source, sensor, host, now_ms);
        let device = Device::new(sensor, None, source, now_ms);
        let seat = Seat {
            first: place,
            count: 1,
            device,
        };
        Some(Self(Worker {
            seats: vec![seat],
            world: None,
            outage: None,
            workplace,
        }))
    }

    /// Works until the channel is closed.
    pub fn run(self, stop: &Receiver<()>) {
        self.0.run(stop);
    }
}

impl<S: Source> Worker<S> {
    fn run(mut self, stop: &Receiver<()>) {
        loop {
            let wait = self.turns();
            self.workplace.board.go_round();
            if self.wait_at_source(wait) {
                if stop.try_recv() != Err(TryRecvError::Empty) {
                    return;
                }
                continue;
            }
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Lets a lone source wait by itself, if it can; when it has something its turn is due.
    fn wait_at_source(&mut self, wait: Duration) -> bool {
        let [seat] = self.seats.as_mut_slice() else {
            return false;
        };
        let at_most = wait.min(Duration::from_millis(OWN_WAIT_MS_MAX));
        let Some(has_something) = seat.device.source().wait(at_most) else {
            return false;
        };
        if has_something {
            seat.device.call();
        }
        true
    }

    /// Gives every device that is due its turn; how long to wait for the next one.
    fn turns(&mut self) -> Duration {
        let Workplace {
            clock,
            issuer,
            board,
        } = &self.workplace;
        for seat in &mut self.seats {
            let now_ms = clock.now().stamp_ms;
            if seat.device.due_ms() > now_ms {
                continue;
            }
            if let Some(world) = &self.world {
                world.advance_to(now_ms);
            }
            seat.device.turn(now_ms, &mut |output| send(issuer, output));
            for place in seat.first..seat.first + seat.count {
                board.set(place, seat.device.state());
            }
        }
        if let Some(outage) = &mut self.outage {
            let faults = self.seats.iter().map(|seat| seat.device.fault());
            outage.look(faults, |report| issuer.bus(report));
        }
        self.wait()
    }

    fn wait(&self) -> Duration {
        let due_ms = self.seats.iter().map(|seat| seat.device.due_ms()).min();
        let clock = &self.workplace.clock;
        let now = clock.now();
        match due_ms {
            Some(due_ms) if due_ms <= now.stamp_ms => Duration::ZERO,
            Some(due_ms) => {
                let real_ms = clock.real_ms(due_ms).saturating_sub(now.real_ms);
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

#[cfg(test)]
mod tests;
