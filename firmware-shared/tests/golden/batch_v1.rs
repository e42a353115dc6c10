//! Golden bytes of sealed batches, frame version 0xF1, codecs 1 and opaque.
//!
//! If this test fails, do not change the test: you have broken the wire. What vehicles have spooled and
//! centres have stored could not be read any more, and a resent batch would clash with itself. Version 1
//! freezes at release 0.1.0; until then a deliberate change replaces the bytes and CHANGELOG.md says so.

use firmware_shared::batch::{
    BATCH_LEN_MAX, Batch, CodecId, Header, SealParams, seal, seal_extended, seal_opaque,
};
use firmware_shared::id::{Epoch, Lane};
use firmware_shared::reading::{
    Fault, FaultKind, FixKind, Health, Metric, Position, Reading, Scalar, Score, Value,
};
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
    Unit,
};

const EPOCH: Epoch = Epoch::from_random(0x0123_4567_89ab_cdef);

const PARAMS: SealParams = SealParams {
    epoch: EPOCH,
    lane: Lane::Telemetry,
    first_seq: 300,
    anchor: None,
};

const ANCHOR: TimeAnchor = TimeAnchor {
    boottime_ms: 86_000_000,
    utc_ms: 1_790_000_000_000,
    error_ms: 150,
    source: ClockSource::Gnss,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sealing gives exactly these bytes, and these bytes give exactly the readings.
fn check(params: &SealParams, extension: &[u8], readings: &[Reading], expected: &[&str]) {
    let mut out = vec![0; BATCH_LEN_MAX];
    let len = seal_extended(params, extension, readings, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), expected.concat());
    let batch = Batch::open(&out[..len]).unwrap();
    assert_eq!(batch.extension(), extension);
    assert_eq!(batch.header().range().first_seq, params.first_seq);
    assert_eq!(batch.header().anchor, params.anchor);
    let read: Vec<_> = batch.readings().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, readings);
}

fn plain(stamp_ms: u64, sensor: u8, value: Value) -> Reading {
    Reading {
        stamp_ms,
        sensor,
        score: Score(0),
        value,
    }
}

fn temperature(stamp_ms: u64, counts: i32) -> Reading {
    plain(stamp_ms, 1, Value::Temperature(Celsius128(counts)))
}

/// A rising temperature with a jitter of 4 ms and an outlier that scores.
fn temperatures() -> Vec<Reading> {
    let mut readings: Vec<_> = (0..24_u64)
        .map(|n| {
            temperature(
                86_400_000 + n * 1000 + n * n % 5,
                -2_600 + (n * 3 / 2 + n * n % 3) as i32,
            )
        })
        .collect();
    readings[17].value = Value::Temperature(Celsius128(512));
    readings[17].score = Score(937);
    readings
}

fn fix(n: i32) -> Position {
    Position {
        lat: Degrees1e7(550_888_498 + n * 700 + n * n),
        lon: Degrees1e7(-389_764_554 - n * 900),
        height: Some(Millimetres(123_400 + n % 3 * 100)),
        speed: Some(MillimetresPerSecond((n * 7 % 5 + 200) * 463 / 9)),
        course: (n != 5).then_some(Course1e5(((35_900 + n * 30) % 36_000) * 1000)),
        h_acc: Some(AccuracyMm(4_500)),
        dop: None,
        satellites: Some(9 + (n / 4) as u8),
        fix: FixKind::FIX_3D,
    }
}

#[test]
fn temperatures_with_an_anchor() {
    let params = SealParams {
        anchor: Some(ANCHOR),
        ..PARAMS
    };
    check(
        &params,
        &[],
        &temperatures(),
        &[
            "f10145efcdab8967452301ac021880b8992980ea3080aa81f39768960115969e51224b7dd0d64b90",
            "329c9659a37d46113284af45abf8b4fe731464ded04b4674145bedc2",
        ],
    );
}

#[test]
fn positions_of_one_receiver_through_north_with_a_gap() {
    let gap_ms = |n: u64| if n > 8 { 60_000 } else { 0 };
    let readings: Vec<_> = (0..12)
        .map(|n| {
            plain(
                5_000 + n * 1000 + gap_ms(n),
                7,
                Value::Position(fix(n as i32)),
            )
        })
        .collect();
    check(
        &PARAMS,
        &[],
        &readings,
        &[
            "f10101efcdab8967452301ac020c8827b6f33a8afa617601a75b1e041b18d141a81d7d1379769735",
            "21dceed74758cf833516b35c74fb4aaa59dc6b144f2d9156014016746f8140d783e045bbe2c4b052",
            "3beac0bc9b148d51a5594671929db088eceabadf3fda17603c31543b0b8e99c11ad1e5c531b30be9",
            "877a203195ec60f5a5ff40821459db",
        ],
    );
}

#[test]
fn every_kind_of_several_sensors_without_an_anchor() {
    let scalar = |value, unit, scale| Value::Scalar(Scalar { value, unit, scale });
    let fault = |kind, register, code| {
        Value::Fault(Fault {
            kind,
            register,
            code,
        })
    };
    let health = |metric, value| Value::Health(Health { metric, value });
    let bare = Position {
        lat: Degrees1e7(i32::MIN),
        lon: Degrees1e7(i32::MAX),
        height: None,
        speed: None,
        course: None,
        h_acc: None,
        dop: Some(DopCenti(u16::MAX)),
        satellites: None,
        fix: FixKind(255),
    };
    let readings = [
        plain(1_000, 1, Value::Temperature(Celsius128(i32::MAX))),
        plain(1_001, 2, scalar(4_410, Unit::PERCENT, -2)),
        plain(1_002, 3, Value::State(1)),
        plain(1_003, 4, fault(FaultKind::NO_ACK, 0x0F, 121)),
        plain(1_004, 0, health(Metric::RSS_BYTES, 8 << 20)),
        plain(1_005, 7, Value::Position(bare)),
        plain(2_000, 1, Value::Temperature(Celsius128(i32::MIN))),
        plain(2_001, 2, scalar(4_420, Unit::PERCENT, -2)),
        plain(1_500, 3, Value::State(u16::MAX)),
        plain(2_003, 4, fault(FaultKind(200), 0x0F, i32::MIN)),
        plain(2_004, 0, health(Metric(999), i64::MIN)),
        plain(u64::MAX, 255, scalar(-7, Unit(99), i8::MIN)),
        Reading {
            score: Score(u16::MAX),
            ..plain(0, 7, Value::Position(fix(3)))
        },
    ];
    check(
        &SealParams {
            lane: Lane::Health,
            ..PARAMS
        },
        &[],
        &readings,
        &[
            "f10102efcdab8967452301ac020de807ccfba8477eaedf7289202b39ca12863ea693511ade56a882",
            "d37337f16f099918c17f985f4fdb90590cdbeb66f36aa0ed974c11ec5d87352be859e112976bba42",
            "8fa93e0c2a1c901840129823bfebfd47c01a23a3406df1f560de9ecab6ee36de67d4cbf48c67f949",
            "03ad4f0c7bc1092f0015f59aaa142536b5b43186a3429827f8acbe482105ebca4af367d94633e080",
            "6c5837a8",
        ],
    );
}

#[test]
fn sensors_that_take_turns_in_one_sweep() {
    let readings: Vec<_> = (0..18_u64)
        .map(|n| {
            let (sweep, sensor) = (n / 3, n % 3);
            let counts = (sweep * sweep % 4 + sensor * 100) as i32 - 50;
            let stamp_ms = 10_000 + sweep * 10_000 + sweep * 7 % 40 + sensor * 16;
            plain(
                stamp_ms,
                sensor as u8,
                Value::Temperature(Celsius128(counts)),
            )
        })
        .collect();
    check(
        &PARAMS,
        &[],
        &readings,
        &[
            "f10101efcdab8967452301ac0212904ec2d200022341bff57f8b344659b15080bb33d5aa1cdedef0",
            "0958cbf3",
        ],
    );
}

#[test]
fn an_extension_in_front_of_the_payload() {
    let readings = [temperature(86_400_000, 100), temperature(86_401_000, 100)];
    check(
        &PARAMS,
        b"a hash chain",
        &readings,
        &["f10109efcdab8967452301ac020280b899290c61206861736820636861696e00939e2024c7a902"],
    );
}

#[test]
fn one_reading_of_nothing_special() {
    check(
        &PARAMS,
        &[],
        &[temperature(0, 0)],
        &["f10101efcdab8967452301ac0201009d8000000a925cde8e738f"],
    );
}

#[test]
fn an_opaque_payload() {
    let header = Header {
        codec: CodecId::OPENING,
        epoch: EPOCH,
        lane: Lane::Telemetry,
        first_seq: 0,
        count: 1,
        base_ms: 4_242,
        anchor: Some(ANCHOR),
    };
    let mut out = [0; 100];
    let len = seal_opaque(&header, b"catalogue", &mut out).unwrap();
    assert_eq!(
        hex(&out[..len]),
        "f10245efcdab896745230100019221dbc3815280aa81f397689601636174616c6f677565a2ec9f35"
    );
    let batch = Batch::open(&out[..len]).unwrap();
    assert_eq!(
        (batch.header(), batch.payload()),
        (&header, &b"catalogue"[..])
    );
}

#[test]
fn the_same_readings_seal_alike_without_an_extension() {
    let mut out = vec![0; BATCH_LEN_MAX];
    let len = seal(&PARAMS, &temperatures(), &mut out).unwrap();
    let mut again = vec![0; BATCH_LEN_MAX];
    let length = seal_extended(&PARAMS, &[], &temperatures(), &mut again).unwrap();
    assert_eq!(out[..len], again[..length]);
}
