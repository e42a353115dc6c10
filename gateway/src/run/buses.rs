//! The buses of a configuration, opened, and their threads.
//!
//! Promises: all simulated buses of a device share one line of time; a thread that does not end (a transfer
//! that hangs in the kernel) is left behind after [`STOP_PATIENCE`]. Never: a start that fails because a
//! real bus is not there.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use sensor_drivers::sim::{Scenario, SimBus};

use crate::clock::{StampClock, boottime_ms};
use crate::config::{BusConfig, BusPath, Config};
use crate::sample::{BusHandle, BusWorker, STACK_LEN, SensorBoard};
use crate::sequencer::Issuer;

/// Longer than a hung transfer takes to fail.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// The buses, ready to be worked on.
#[derive(Debug)]
pub(super) struct Buses {
    open: Vec<Option<SimBus>>,
    /// What stamps are on this device.
    pub(super) clock: StampClock,
}

impl Buses {
    /// Opens the worlds of simulated buses; real buses are opened when they are needed.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let now_ms = boottime_ms();
        let mut clock = StampClock::Boot;
        let mut open = Vec::new();
        for bus in &config.buses {
            let BusPath::Scenario(path) = &bus.path else {
                open.push(None);
                continue;
            };
            let world = Scenario::load(path, now_ms)
                .with_context(|| format!("bus {}: {}", bus.name, path.display()))?;
            match &clock {
                StampClock::World(first) if *first != world.clock => anyhow::bail!(
                    "bus {}: {}: this world began at another time than the one before; allowed are \
                     truth files that begin together (remove all of them to begin anew)",
                    bus.name,
                    path.display()
                ),
                _ => clock = StampClock::World(world.clock),
            }
            open.push(Some(world.bus));
        }
        Ok(Self { open, clock })
    }

    /// Starts a thread for each bus.
    pub(super) fn start(
        self,
        config: &Config,
        issuer: &Issuer,
        board: &SensorBoard,
    ) -> anyhow::Result<BusThreads> {
        let (stop, stopped) = bounded(0);
        let (working, ended) = bounded(0);
        let mut position = 0;
        for (bus, world) in config.buses.iter().zip(self.open) {
            let handle = handles(bus, world);
            let (clock, issuer, board) = (self.clock.clone(), issuer.clone(), board.clone());
            let worker = BusWorker::new(&bus.sensors, position, handle, clock, issuer, board);
            position += bus.sensors.len();
            let (stopped, working) = (stopped.clone(), working.clone());
            std::thread::Builder::new()
                .name(format!("bus-{}", bus.name))
                .stack_size(STACK_LEN)
                .spawn(move || {
                    worker.run(&stopped);
                    drop::<Sender<()>>(working);
                })
                .with_context(|| format!("bus {}: no thread", bus.name))?;
        }
        Ok(BusThreads { stop, ended })
    }
}

fn handles(bus: &BusConfig, world: Option<SimBus>) -> Box<dyn Fn() -> BusHandle> {
    match (world, &bus.path) {
        (Some(world), _) => Box::new(move || BusHandle::Sim(world.clone())),
        (None, BusPath::Device(path) | BusPath::Scenario(path)) => linux(path),
    }
}

fn linux(path: &Path) -> Box<dyn Fn() -> BusHandle> {
    Box::new(BusWorker::linux(path))
}

/// The running threads.
#[derive(Debug)]
pub(super) struct BusThreads {
    stop: Sender<()>,
    ended: Receiver<()>,
}

impl BusThreads {
    /// Ends sampling; after this no further number is issued, except by a thread that hangs.
    pub(super) fn stop(self) {
        drop(self.stop);
        // The channel breaks when the last thread lets go of it; nobody ever sends.
        if self.ended.recv_timeout(STOP_PATIENCE)
            == Err(crossbeam_channel::RecvTimeoutError::Timeout)
        {
            tracing::warn!("a bus hangs in a transfer; it is left behind");
        }
    }
}
