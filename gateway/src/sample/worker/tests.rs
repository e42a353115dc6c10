//! Whole workers on threads of their own, in a world whose time runs twenty times as fast.

use std::collections::BTreeMap;

use crossbeam_channel::bounded;
use firmware_shared::reading::{FaultKind, Value};
use sensor_drivers::sim::Scenario;

use super::*;
use crate::clock::boottime_ms;
use crate::config::Driver;
use crate::sample::BusReport;
use crate::sequencer::{Intake, Sampled, queue};

const SPEED_X: u64 = 20;
/// A step of a test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fleet {
    _folder: tempfile::TempDir,
    stop: Option<crossbeam_channel::Sender<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    workplace: Workplace,
    intake: Intake,
    begin_ms: u64,
    /// Stamps of the values of each sensor, since the start.
    values: BTreeMap<u8, Vec<u64>>,
    reports: Vec<(u64, BusReport)>,
}

impl Fleet {
    /// A bus for each list of chips, each chip with a sensor.
    fn start(buses: &[&[(Driver, &str, u8, &str)]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now_ms = boottime_ms();
        let (issuer, intake) = queue(4096);
        let mut worlds = Vec::new();
        for (number, chips) in buses.iter().enumerate() {
            let mut text = format!("speed_x = {SPEED_X}\n");
            for (_, kind, address, more) in *chips {
                text.push_str(&format!(
                    "[[chip]]\nkind = \"{kind}\"\naddress = {address}\nbase_deg_c = 4.0\n{more}\n"
                ));
            }
            let file = folder.path().join(format!("{number}.toml"));
            std::fs::write(&file, text).unwrap();
            worlds.push(Scenario::load(&file, now_ms).unwrap());
        }
        let clock = StampClock::World(worlds[0].clock);
        let board = SensorBoard::new(buses.iter().map(|chips| chips.len()).sum());
        let workplace = Workplace {
            clock,
            issuer,
            board,
        };
        let (stop, stopped) = bounded(0);
        let (mut threads, mut index) = (Vec::new(), 0);
        for (number, (world, chips)) in worlds.into_iter().zip(buses).enumerate() {
            let mut sensors = Vec::new();
            for (driver, _, address, _) in *chips {
                let name = format!("s{index}");
                sensors.push(SensorConfig::of_part(index, &name, *driver, *address));
                index += 1;
            }
            let hang = workplace.clock.real_time_of(1000);
            let worker = BusWorker::new(
                number as u8,
                &sensors,
                usize::from(index) - sensors.len(),
                || BusHandle::Sim(world.bus.clone(), hang),
                workplace.clone(),
            );
            let stopped = stopped.clone();
            threads.push(std::thread::spawn(move || worker.run(&stopped)));
        }
        Self {
            _folder: folder,
            stop: Some(stop),
            threads,
            workplace,
            intake,
            begin_ms: now_ms,
            values: BTreeMap::new(),
            reports: Vec::new(),
        }
    }

    /// Listens until a reading is stamped so much after the start.
    fn listen_until(&mut self, until_ms: u64) {
        loop {
            match self.intake.receiver().recv_timeout(PATIENCE).unwrap() {
                Sampled::Reading { reading, .. } => {
                    let at_ms = reading.stamp_ms - self.begin_ms;
                    if !matches!(reading.value, Value::Fault(_)) {
                        self.values.entry(reading.sensor).or_default().push(at_ms);
                    }
                    if at_ms >= until_ms {
                        return;
                    }
                }
                Sampled::Bus(report) => {
                    let at_ms = self.workplace.clock.now().stamp_ms - self.begin_ms;
                    self.reports.push((at_ms, report));
                }
                Sampled::Anchor(_) => {}
            }
        }
    }

    fn count(&self, sensor: u8, from_ms: u64, to_ms: u64) -> usize {
        let stamps = self.values.get(&sensor).map_or(&[][..], |stamps| stamps);
        stamps
            .iter()
            .filter(|at| (from_ms..to_ms).contains(*at))
            .count()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

const HUNG: &str = "event = [{ kind = \"hang\", at_s = 10.0, for_s = 60.0 }]";

#[test]
fn while_one_bus_hangs_for_a_minute_the_others_keep_their_rate_and_it_is_back_within_five_seconds()
{
    let mut fleet = Fleet::start(&[
        &[
            (Driver::Tmp117, "tmp117", 0x48, HUNG),
            (Driver::Mcp9808, "mcp9808", 0x18, ""),
        ],
        &[(Driver::Tmp117, "tmp117", 0x48, "")],
        &[(Driver::Mcp9808, "mcp9808", 0x18, "")],
    ]);
    fleet.listen_until(80_000);
    for other in [2, 3] {
        let count = fleet.count(other, 10_000, 70_000);
        assert!((58..=61).contains(&count), "sensor {other}: {count}");
    }
    for hung in [0, 1] {
        assert_eq!(fleet.count(hung, 12_000, 70_000), 0, "sensor {hung}");
        assert!(
            fleet.count(hung, 70_000, 75_000) > 0,
            "sensor {hung}: {:?}",
            fleet.values
        );
    }
    let said: Vec<_> = fleet
        .reports
        .iter()
        .map(|(_, report)| (report.bus, report.problem))
        .collect();
    assert_eq!(said, [(0, Some(FaultKind::BUS_TIMEOUT)), (0, None)]);
    let [(begins_ms, _), (ends_ms, _)] = fleet.reports[..] else {
        panic!()
    };
    assert!((10_000..16_000).contains(&begins_ms) && (70_000..76_000).contains(&ends_ms));
}

#[test]
fn a_bus_on_which_nobody_answers_is_told_once_and_one_missing_part_is_not_a_bus() {
    let gone = "event = [{ kind = \"noack\", at_s = 5.0, for_s = 20.0 }]";
    let mut fleet = Fleet::start(&[
        &[
            (Driver::Tmp117, "tmp117", 0x48, gone),
            (Driver::Mcp9808, "mcp9808", 0x18, gone),
        ],
        &[
            (Driver::Tmp117, "tmp117", 0x48, gone),
            (Driver::Mcp9808, "mcp9808", 0x18, ""),
        ],
    ]);
    fleet.listen_until(35_000);
    let said: Vec<_> = fleet
        .reports
        .iter()
        .map(|(_, report)| (report.bus, report.problem))
        .collect();
    assert_eq!(said, [(0, Some(FaultKind::NO_ACK)), (0, None)]);
}
