use firmware_shared::batch::Batch;
use firmware_shared::id::{Epoch, Lane};
use firmware_shared::reading::{Score, Value};
use firmware_shared::time::ClockSource;
use firmware_shared::units::Celsius128;

use super::*;

const STREAM: StreamId = StreamId {
    epoch: Epoch::from_random(7),
    lane: Lane::Telemetry,
};

fn sealer(count_max: usize) -> Sealer {
    Sealer::new(
        STREAM,
        SealConfig {
            count_max,
            age_ms_max: 2000,
        },
    )
}

fn reading(stamp_ms: u64, sensor: u8) -> Reading {
    let value = Value::Temperature(Celsius128(stamp_ms as i32 % 500));
    Reading {
        stamp_ms,
        sensor,
        score: Score::ORDINARY,
        value,
    }
}

/// What a centre would read: numbers with their readings, frame by frame.
fn opened(sealed: &[Sealed]) -> Vec<Vec<(u64, Reading)>> {
    let open = |sealed: &Sealed| {
        let Sealed::Frame(frame) = sealed else {
            panic!("{sealed:?}")
        };
        let batch = Batch::open(&frame.bytes).unwrap();
        assert_eq!(
            (frame.stream, batch.header().range()),
            (STREAM, frame.range)
        );
        let readings = batch.readings().unwrap().map(|reading| reading.unwrap());
        (frame.range.first_seq..).zip(readings).collect()
    };
    sealed.iter().map(open).collect()
}

#[test]
fn a_batch_is_closed_when_it_is_full() {
    let (mut sealer, mut out) = (sealer(3), Vec::new());
    for seq in 0..7 {
        sealer.push(seq, reading(seq * 100, 0), None, &mut out);
    }
    let frames = opened(&out);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(frames[1], [3, 4, 5].map(|seq| (seq, reading(seq * 100, 0))));
    sealer.close(None, &mut out);
    assert_eq!(opened(&out)[2], [(6, reading(600, 0))]);
    sealer.close(None, &mut out);
    assert_eq!(out.len(), 3, "nothing is open");
}

#[test]
fn a_batch_is_closed_at_the_age_of_its_first_reading() {
    let (mut sealer, mut out) = (sealer(60), Vec::new());
    assert_eq!(sealer.deadline_stamp_ms(), None);
    sealer.push(0, reading(1000, 0), None, &mut out);
    sealer.push(1, reading(2500, 0), None, &mut out);
    assert_eq!(sealer.deadline_stamp_ms(), Some(3000));
    sealer.close_old(2999, None, &mut out);
    assert!(out.is_empty());
    sealer.close_old(3000, None, &mut out);
    assert_eq!(opened(&out)[0].len(), 2);
    assert_eq!(sealer.deadline_stamp_ms(), None);
}

#[test]
fn a_hole_in_the_numbers_closes_the_batch_before_it() {
    let (mut sealer, mut out) = (sealer(60), Vec::new());
    for seq in [0, 1, 5, 6] {
        sealer.push(seq, reading(seq, 0), None, &mut out);
    }
    sealer.close(None, &mut out);
    let numbers = |frame: &Vec<(u64, Reading)>| frame.iter().map(|(seq, _)| *seq).collect();
    let frames: Vec<Vec<u64>> = opened(&out).iter().map(numbers).collect();
    assert_eq!(frames, [vec![0, 1], vec![5, 6]]);
}

#[test]
fn more_sensors_than_a_batch_can_name_become_two_batches() {
    let (mut sealer, mut out) = (sealer(120), Vec::new());
    for seq in 0..120 {
        sealer.push(seq, reading(seq, (seq % 60) as u8), None, &mut out);
    }
    let all: Vec<(u64, Reading)> = opened(&out).concat();
    assert!(out.len() >= 2);
    let expected: Vec<_> = (0..120)
        .map(|seq| (seq, reading(seq, (seq % 60) as u8)))
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn a_batch_carries_the_best_anchor_of_its_closing() {
    let (mut sealer, mut out) = (sealer(1), Vec::new());
    let anchor = TimeAnchor {
        boottime_ms: 5,
        utc_ms: 1_800_000_000_000,
        error_ms: 3,
        source: ClockSource::Gnss,
    };
    sealer.push(0, reading(0, 0), Some(anchor), &mut out);
    let Sealed::Frame(frame) = &out[0] else {
        panic!()
    };
    assert_eq!(
        Batch::open(&frame.bytes).unwrap().header().anchor,
        Some(anchor)
    );
}

#[test]
fn a_count_above_the_codecs_is_cut_to_it() {
    let (mut sealer, mut out) = (sealer(10_000), Vec::new());
    for seq in 0..batch::COUNT_MAX as u64 {
        sealer.push(seq, reading(seq, 0), None, &mut out);
    }
    assert_eq!(opened(&out)[0].len(), batch::COUNT_MAX);
}
