//! The buses of a configuration, opened, and their threads.
//!
//! Promises: all simulated buses of a device share one line of time; a thread that does not end (a transfer
//! that hangs in the kernel) is left behind after [`STOP_PATIENCE`]. Never: a start that fails because a
//! real bus is not there.

use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use firmware_shared::time::BootId;
use sensor_drivers::sim::{Scenario, SimBus};

use crate::anchor::AnchorWatch;
use crate::clock::{StampClock, boottime_ms};
use crate::config::{BusConfig, BusPath, Config, HostConfig};
use crate::sample::{
    BusHandle, BusWorker, HangTime, HostWorker, STACK_LEN, SensorBoard, Workplace,
};
use crate::sequencer::Issuer;

/// Longer than a hung transfer takes to fail.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// A transfer on a bus that hangs keeps the kernel for so long.
const HUNG_TRANSFER_MS: u64 = 1000;

/// The buses, ready to be worked on.
#[derive(Debug)]
pub(super) struct Buses {
    open: Vec<Option<SimBus>>,
    /// What stamps are on this device.
    pub(super) clock: StampClock,
    /// The boot of a simulated machine.
    pub(super) boot_id: Option<BootId>,
}

impl Buses {
    /// Opens the worlds of simulated buses; real buses are opened when they are needed.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let now_ms = boottime_ms();
        let mut clock = StampClock::Boot;
        let mut open = Vec::new();
        let mut boot_id = None;
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
            boot_id = boot_id.or(Some(BootId(world.boot_id.0)));
            open.push(Some(world.bus));
        }
        Ok(Self {
            open,
            clock,
            boot_id,
        })
    }

    /// Starts a thread for each bus and each sensor without one.
    pub(super) fn start(
        self,
        config: &Config,
        issuer: &Issuer,
        board: &SensorBoard,
    ) -> anyhow::Result<BusThreads> {
        let (stop, stopped) = bounded(0);
        let (working, ended) = bounded(0);
        let workplace = Workplace {
            clock: self.clock.clone(),
            issuer: issuer.clone(),
            board: board.clone(),
        };
        let threads = Threads { stopped, working };
        let hang = self.clock.real_time_of(HUNG_TRANSFER_MS);
        let mut place = 0;
        for (number, (bus, world)) in (0..).zip(config.buses.iter().zip(self.open)) {
            let handle = handles(bus, world, &config.host, hang);
            let worker = BusWorker::new(number, &bus.sensors, place, handle, workplace.clone());
            place += bus.sensors.len();
            threads.spawn(&format!("bus-{}", bus.name), move |stopped| {
                worker.run(stopped);
            })?;
        }
        for sensor in &config.host_sensors {
            let worker = HostWorker::new(sensor, place, &config.host, workplace.clone());
            place += 1;
            if let Some(worker) = worker {
                threads.spawn(&format!("src-{}", sensor.name), move |stopped| {
                    worker.run(stopped);
                })?;
            }
        }
        // A simulated world has a time of its own, in which the clocks of this machine mean nothing.
        if let StampClock::Boot = self.clock {
            let watch = AnchorWatch::new(config.time.clone(), issuer.clone());
            threads.spawn("clocks", move |stopped| watch.run(stopped))?;
        }
        Ok(BusThreads { stop, ended })
    }
}

/// What every thread holds: the one channel breaks when it shall end, the other when all have ended.
struct Threads {
    stopped: Receiver<()>,
    working: Sender<()>,
}

impl Threads {
    fn spawn(
        &self,
        name: &str,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> anyhow::Result<()> {
        let (stopped, working) = (self.stopped.clone(), self.working.clone());
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || {
                work(&stopped);
                drop::<Sender<()>>(working);
            })
            .map(drop)
            .with_context(|| format!("{name}: no thread"))
    }
}

fn handles(
    bus: &BusConfig,
    world: Option<SimBus>,
    host: &HostConfig,
    hang: HangTime,
) -> Box<dyn Fn() -> BusHandle> {
    match (world, &bus.path) {
        (Some(world), _) => Box::new(move || BusHandle::Sim(world.clone(), hang)),
        (None, BusPath::Device(path) | BusPath::Scenario(path)) => {
            Box::new(BusWorker::linux(path, &host.sysfs))
        }
    }
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
