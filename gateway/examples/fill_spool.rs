//! `fill_spool DIR MIB`: a spool of so many MiB, as a long outage leaves it, for measurements.
//!
//! The frames are as large and as many as a busy vehicle's; what is in them is nothing that a centre takes.

use std::path::Path;
use std::process::ExitCode;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use gateway::spool::disk::RealDisk;
use gateway::spool::store::Store;
use gateway::spool::{Frame, PerLane, SpoolLimits};

/// Sixty positions and temperatures, sealed.
const FRAME_LEN: usize = 256;
const READINGS: u64 = 4;
/// Frames of a MiB; the rest is what the spool writes around them.
const FRAMES_PER_MIB: u64 = 4_032;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, mib] = words.as_slice() else {
        eprintln!("usage: fill_spool DIR MIB");
        return ExitCode::from(2);
    };
    let Ok(mib) = mib.parse::<u64>() else {
        eprintln!("fill_spool: {mib:?} is not allowed; allowed is a number of MiB");
        return ExitCode::from(2);
    };
    match fill(Path::new(folder), mib) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("fill_spool: {what}");
            ExitCode::FAILURE
        }
    }
}

fn fill(folder: &Path, mib: u64) -> Result<(), &'static str> {
    let stream = StreamId {
        epoch: Epoch::from_random(1),
        lane: Lane::Telemetry,
    };
    let disk = Box::new(RealDisk::new(folder));
    let mut store = Store::open(disk, limits(), stream.epoch, 0);
    let mut seq = 0;
    for _ in 0..mib {
        for _ in 0..FRAMES_PER_MIB {
            let range = SeqRange::from_count(seq, READINGS).ok_or("too many readings")?;
            seq = range.next_seq();
            let bytes = vec![3; FRAME_LEN];
            let is_taken = store.append(Frame {
                stream,
                range,
                bytes,
            });
            is_taken.then_some(()).ok_or("a frame was refused")?;
        }
        store.commit().then_some(()).ok_or("the disk refuses")?;
    }
    (!store.is_in_ram()).then_some(()).ok_or("the disk refuses")
}

/// Room for more than anybody asks for; the rest as a vehicle has it.
fn limits() -> SpoolLimits {
    const ROOM: u64 = 1 << 36;
    SpoolLimits {
        max_bytes: PerLane::from_fn(|_| ROOM),
        total_bytes: 3 * ROOM,
        ram_bytes: PerLane::from_fn(|_| 1 << 20),
        segment_bytes: 4 * 1024 * 1024,
        align: 4096,
        slot_bytes: 64 * 1024,
        history_ms: 0,
        pending_count_max: 8_192,
    }
}
