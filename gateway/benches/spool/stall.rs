//! What a sampler feels while a sync takes five seconds.
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use firmware_shared::reading::{Reading, Score, Value};
use gateway::sequencer::{self, QUEUE_COUNT_MAX, Sampled};
use gateway::spool::disk::{Disk, RealDisk};
use gateway::spool::store::Store;

use super::engines::{limits, stream};
use super::{Report, seconds};

const STALL: Duration = Duration::from_secs(5);

/// A disk whose next sync takes its time when it is told so.
#[derive(Debug)]
struct Stalling {
    disk: RealDisk,
    stalls: Receiver<()>,
    stalled: Sender<()>,
}

impl Disk for Stalling {
    fn prepare(&mut self) -> io::Result<()> {
        self.disk.prepare()
    }
    fn folders(&mut self) -> io::Result<Vec<String>> {
        self.disk.folders()
    }
    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        self.disk.make_folder(folder)
    }
    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        self.disk.remove_folder(folder)
    }
    fn list(&mut self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn len(&mut self, file: &str) -> io::Result<u64> {
        self.disk.len(file)
    }
    fn read_at(&mut self, file: &str, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(file, offset, out)
    }
    fn create(&mut self, file: &str, len: u64) -> io::Result<()> {
        self.disk.create(file, len)
    }
    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(file, offset, bytes)
    }
    fn sync(&mut self, file: &str) -> io::Result<()> {
        if self.stalls.try_recv().is_ok() {
            // A channel on which nothing comes is a wait with a deadline.
            crossbeam_channel::after(STALL).recv().unwrap();
            self.stalled.send(()).unwrap();
        }
        self.disk.sync(file)
    }
    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.disk.remove(file)
    }
}

pub(crate) fn measure(work: &Path, report: &mut Report) {
    let (stall, stalls) = bounded(1);
    let (stalled, over) = bounded(1);
    let disk = Stalling {
        disk: RealDisk::new(work.join("stall")),
        stalls,
        stalled,
    };
    let mut store = Store::open(Box::new(disk), limits(8 << 20), stream(1).epoch, 0);
    let (issuer, mut intake) = sequencer::queue(QUEUE_COUNT_MAX);
    let stop = AtomicBool::new(false);
    let mut worst_s: f64 = 0.0;
    let mut taken = 0;
    let mut issued = 0;
    std::thread::scope(|scope| {
        let pipeline = scope.spawn(|| {
            let mut taken = 0_u64;
            while !stop.load(Ordering::Relaxed) || intake.depth() > 0 {
                let next = intake.receiver().recv_timeout(Duration::from_millis(5));
                let Ok(Sampled::Reading { seq, .. }) = next else {
                    continue;
                };
                assert_eq!(intake.admit(seq), None, "no reading was dropped");
                taken += 1;
                let frame = gateway::spool::Frame {
                    stream: stream(1),
                    range: firmware_shared::id::SeqRange::new(seq, seq).unwrap(),
                    bytes: vec![1; 40],
                };
                assert!(store.append(frame) && store.commit());
            }
            taken
        });
        let tick = crossbeam_channel::tick(Duration::from_millis(5));
        let mut told = false;
        while over.try_recv().is_err() {
            tick.recv().unwrap();
            let reading = Reading {
                stamp_ms: issued,
                sensor: 0,
                score: Score::ORDINARY,
                value: Value::State(1),
            };
            let (spent_s, _) = seconds(|| issuer.issue(reading));
            worst_s = worst_s.max(spent_s);
            issued += 1;
            if issued == 50 && !std::mem::replace(&mut told, true) {
                stall.send(()).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        taken = pipeline.join().unwrap();
    });
    assert_eq!(taken, issued, "every reading came through");
    assert!(issued > 500, "the stall was seen");
    report.insert("sampler_delay_ms_fsync_stall".into(), worst_s * 1e3);
}
