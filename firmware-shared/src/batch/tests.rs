use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::checksum::crc32c;
use crate::id::{Epoch, Lane};
use crate::reading::{
    Fault, FaultKind, FixKind, Health, Metric, Position, Reading, Scalar, Score, Value,
};
use crate::time::{ClockSource, TimeAnchor};
use crate::units::{
    AccuracyMm, Celsius128, Course1e5, Degrees1e7, DopCenti, Millimetres, MillimetresPerSecond,
    Unit,
};

const PARAMS: SealParams = SealParams {
    epoch: Epoch::from_random(0x0123_4567_89AB_CDEF),
    lane: Lane::Telemetry,
    first_seq: 7,
    anchor: None,
};

fn sealed(params: &SealParams, readings: &[Reading]) -> Vec<u8> {
    let mut out = vec![0xAA; BATCH_LEN_MAX];
    let len = seal(params, readings, &mut out).unwrap();
    out.truncate(len);
    out
}

fn opened(bytes: &[u8]) -> Vec<Reading> {
    let batch = Batch::open(bytes).unwrap();
    let readings = batch
        .readings()
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert_eq!(readings.len(), usize::from(batch.header().count));
    readings
}

/// Puts a valid CRC behind bytes.
fn with_crc(mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&body);
    body.extend(crc.to_le_bytes());
    body
}

fn plain(stamp_ms: u64, sensor: u8, value: Value) -> Reading {
    Reading {
        stamp_ms,
        sensor,
        score: Score(0),
        value,
    }
}

fn temperature(stamp_ms: u64, sensor: u8, counts: i32) -> Reading {
    plain(stamp_ms, sensor, Value::Temperature(Celsius128(counts)))
}

/// Numbers that break predictors: extremes, neighbours of powers of two, small ones.
fn wild() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(i64::from(i32::MIN)),
        Just(i64::from(i32::MAX)),
        (0..63_u32, -2..3_i64, any::<bool>()).prop_map(|(bit, near, negative)| {
            let number = (1_i64 << bit).wrapping_add(near);
            if negative {
                number.wrapping_neg()
            } else {
                number
            }
        }),
        -40..40_i64,
        any::<i64>(),
    ]
}

fn wild_i32() -> impl Strategy<Value = i32> {
    wild().prop_map(|n| n as i32)
}

fn position() -> impl Strategy<Value = Value> {
    let options = (
        proptest::option::of(wild_i32()),
        proptest::option::of(wild_i32()),
        proptest::option::of(wild_i32()),
        proptest::option::of(wild_i32()),
        proptest::option::of(any::<u16>()),
        proptest::option::of(any::<u8>()),
    );
    (wild_i32(), wild_i32(), options, any::<u8>()).prop_map(|(lat, lon, options, fix)| {
        let (height, speed, course, h_acc, dop, satellites) = options;
        Value::Position(Position {
            lat: Degrees1e7(lat),
            lon: Degrees1e7(lon),
            height: height.map(Millimetres),
            speed: speed.map(MillimetresPerSecond),
            course: course.map(Course1e5),
            h_acc: h_acc.map(|n| AccuracyMm(n as u32)),
            dop: dop.map(DopCenti),
            satellites,
            fix: FixKind(fix),
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        wild_i32().prop_map(|n| Value::Temperature(Celsius128(n))),
        position(),
        (wild_i32(), 0..3_u8, -1..2_i8).prop_map(|(value, unit, scale)| {
            Value::Scalar(Scalar {
                value,
                unit: Unit(unit.wrapping_sub(1)),
                scale,
            })
        }),
        any::<u16>().prop_map(Value::State),
        (0..3_u8, 0..2_u8, wild_i32()).prop_map(|(kind, register, code)| {
            Value::Fault(Fault {
                kind: FaultKind(kind.wrapping_sub(1)),
                register,
                code,
            })
        }),
        (0..3_u16, wild()).prop_map(|(metric, value)| {
            Value::Health(Health {
                metric: Metric(metric.wrapping_sub(1)),
                value,
            })
        }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let score = prop_oneof![Just(0_u16), any::<u16>()];
    (wild(), 0..2_u8, score, value()).prop_map(|(stamp, sensor, score, value)| Reading {
        stamp_ms: stamp as u64,
        sensor: sensor.wrapping_sub(1),
        score: Score(score),
        value,
    })
}

/// Readings as sensors give them: few streams, a schedule with jitter and gaps, numbers that wander.
fn tame() -> impl Strategy<Value = Vec<Reading>> {
    let step = (0..5_u64, 0..40_u32, -9..10_i32, -300..300_i32);
    let steps = proptest::collection::vec(step, 1..=120);
    (any::<u32>(), 1..5_u8, steps).prop_map(|(start_ms, sensors, steps)| {
        let mut stamp_ms = u64::from(start_ms);
        let (mut counts, mut lat, mut speed) = (-2_000, 550_000_000, 9_000);
        let rows = steps
            .into_iter()
            .enumerate()
            .map(|(index, (jitter_ms, gap, noise, drift))| {
                let sensor = index as u8 % sensors;
                stamp_ms += if sensor == 0 { 1000 } else { 0 };
                stamp_ms += if gap == 0 { 17_000 } else { 0 };
                counts += noise;
                lat += speed / 11 + drift;
                speed += drift;
                let position = Position {
                    lat: Degrees1e7(lat),
                    lon: Degrees1e7(lat / 2),
                    height: Some(Millimetres(100 * counts)),
                    speed: Some(MillimetresPerSecond(speed)),
                    course: (gap != 1).then_some(Course1e5((drift.rem_euclid(360)) * 100_000)),
                    h_acc: Some(AccuracyMm(2_500)),
                    dop: None,
                    satellites: Some(11),
                    fix: FixKind::FIX_3D,
                };
                let value = match sensor {
                    0 => Value::Temperature(Celsius128(counts)),
                    1 => Value::Position(position),
                    2 => Value::Scalar(Scalar {
                        value: counts * 64,
                        unit: Unit::PERCENT,
                        scale: -2,
                    }),
                    _ => Value::State(u16::from(gap > 20)),
                };
                plain(stamp_ms + jitter_ms, sensor, value)
            });
        rows.collect()
    })
}

fn anchor() -> impl Strategy<Value = Option<TimeAnchor>> {
    let anchor =
        (wild(), wild(), any::<u32>(), 0..5_u8).prop_map(|(boot, utc_ms, error_ms, source)| {
            let source = ClockSource::from_wire(source).unwrap();
            TimeAnchor {
                boottime_ms: boot as u64,
                utc_ms,
                error_ms,
                source,
            }
        });
    proptest::option::of(anchor)
}

fn params() -> impl Strategy<Value = SealParams> {
    (any::<u64>(), 0..3_u8, any::<u64>(), anchor()).prop_map(|(epoch, lane, seq, anchor)| {
        SealParams {
            epoch: Epoch::from_random(epoch),
            lane: Lane::from_wire(lane).unwrap(),
            first_seq: seq.min(u64::MAX - 1000),
            anchor,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readings_of_every_kind_round_trip_within_the_bound(
        params in params(),
        mut readings in proptest::collection::vec(reading(), 1..=80),
    ) {
        let mut out = vec![0; BATCH_LEN_MAX];
        if let Err(SealError::TooManySensors { index }) = seal(&params, &readings, &mut out) {
            readings.truncate(index);
        }
        let bytes = sealed(&params, &readings);
        let bound = HEADER_LEN_MAX + PLAN_LEN_MAX + readings.len() * READING_LEN_MAX + 4;
        prop_assert!(bytes.len() <= bound, "{} bytes for {} readings", bytes.len(), readings.len());
        prop_assert_eq!(opened(&bytes), readings.clone());
        let header = *Batch::open(&bytes).unwrap().header();
        prop_assert_eq!(header.epoch, params.epoch);
        prop_assert_eq!(header.lane, params.lane);
        prop_assert_eq!(header.anchor, params.anchor);
        prop_assert_eq!(header.range().first_seq, params.first_seq);
        prop_assert_eq!(header.range().count(), readings.len() as u64);
        prop_assert_eq!(claimed_header(&bytes), Some(header));
    }

    #[test]
    fn readings_as_sensors_give_them_round_trip(readings in tame()) {
        prop_assert_eq!(opened(&sealed(&PARAMS, &readings)), readings);
    }

    #[test]
    fn the_same_readings_give_the_same_bytes_in_any_buffer(readings in tame()) {
        let bytes = sealed(&PARAMS, &readings);
        let mut exact = vec![0x55; bytes.len()];
        prop_assert_eq!(seal(&PARAMS, &readings, &mut exact), Ok(bytes.len()));
        prop_assert_eq!(&exact, &bytes);
        exact.pop();
        let room = SealError::Room { len: exact.len() };
        prop_assert_eq!(seal(&PARAMS, &readings, &mut exact), Err(room));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = bytes.clone();
        versioned.insert(0, VERSION);
        for bytes in [bytes, versioned.clone(), with_crc(versioned)] {
            let claimed = claimed_header(&bytes);
            if let Ok(batch) = Batch::open(&bytes) {
                prop_assert!(claimed.is_some());
                let _either = batch.readings().map(Iterator::count);
            }
        }
    }

    #[test]
    fn an_arbitrary_payload_gives_its_count_or_one_error(
        count in 1..=300_u16,
        base_ms in any::<u64>(),
        payload in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let header = Header { base_ms, ..header(CodecId::COLUMNS_V1, count) };
        let mut out = vec![0; 1000];
        let len = seal_opaque(&header, &payload, &mut out).unwrap();
        let batch = Batch::open(&out[..len]).unwrap();
        prop_assert_eq!(batch.payload(), &payload[..]);
        if usize::from(count) > COUNT_MAX {
            prop_assert_eq!(batch.readings().err(), Some(DecodeError::Count { count }));
        } else {
            let read: Vec<_> = batch.readings().unwrap().collect();
            let errors = read.iter().filter(|reading| reading.is_err()).count();
            prop_assert!(errors <= 1);
            prop_assert!(errors == 0 || read.last().is_some_and(Result::is_err));
            prop_assert!(errors == 1 || read.len() == usize::from(count));
        }
    }

    #[test]
    fn a_payload_that_is_longer_or_shorter_is_refused(
        readings in tame(),
        tail in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let bytes = sealed(&PARAMS, &readings);
        let header = *Batch::open(&bytes).unwrap().header();
        let payload = Batch::open(&bytes).unwrap().payload().to_vec();
        let longer = [&payload[..], &tail].concat();
        let shorter = payload.split_last().map_or(&[][..], |(_, rest)| rest).to_vec();
        for payload in [longer, shorter] {
            let mut out = vec![0; BATCH_LEN_MAX];
            let len = seal_opaque(&header, &payload, &mut out).unwrap();
            let read: Result<Vec<_>, _> = Batch::open(&out[..len]).unwrap().readings().unwrap().collect();
            prop_assert!(read.is_err() || read != Ok(readings.clone()), "accepted as the same readings");
        }
    }

    #[test]
    fn every_reader_skips_an_extension_of_any_length(
        readings in tame(),
        extension in proptest::collection::vec(any::<u8>(), 1..=EXTENSION_LEN_MAX),
    ) {
        let plain = sealed(&PARAMS, &readings);
        let mut out = vec![0; BATCH_LEN_MAX];
        let len = seal_extended(&PARAMS, &extension, &readings, &mut out).unwrap();
        let batch = Batch::open(&out[..len]).unwrap();
        prop_assert_eq!(batch.extension(), &extension[..]);
        prop_assert_eq!(*batch.header(), *Batch::open(&plain).unwrap().header());
        prop_assert_eq!(batch.payload(), Batch::open(&plain).unwrap().payload());
        prop_assert_eq!(opened(&out[..len]), readings);
    }

    #[test]
    fn a_codec_from_the_future_keeps_its_header_and_its_bytes(
        codec in 3..=255_u8,
        count in 1..=u16::MAX,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let header = header(CodecId(codec), count);
        let mut out = vec![0; 1000];
        let len = seal_opaque(&header, &payload, &mut out).unwrap();
        let batch = Batch::open(&out[..len]).unwrap();
        prop_assert_eq!(batch.header(), &header);
        prop_assert_eq!(batch.payload(), &payload[..]);
        prop_assert_eq!(batch.readings().err(), Some(DecodeError::UnknownCodec(CodecId(codec))));
    }

    #[test]
    fn a_frame_of_another_version_is_called_so(
        version in any::<u8>().prop_filter("another one", |v| *v != VERSION),
        rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = with_crc([&[version], &rest[..]].concat());
        prop_assert_eq!(Batch::open(&bytes), Err(OpenError::Version { found: version }));
        prop_assert_eq!(claimed_header(&bytes), None);
    }
}

fn header(codec: CodecId, count: u16) -> Header {
    Header {
        codec,
        epoch: PARAMS.epoch,
        lane: Lane::Health,
        first_seq: 0,
        count,
        base_ms: 1_000,
        anchor: None,
    }
}

/// If this test fails, do not change the test: every batch in every spool is coded with these shares.
#[test]
fn the_distributions_are_pinned_and_leave_nothing_impossible() {
    let mut shares = Vec::new();
    for shape in shape::NOISE.iter().chain(&shape::MOTION) {
        let spans: Vec<_> = (0..32).map(|symbol| shape.span(symbol)).collect();
        assert_eq!(
            spans.iter().map(|(_, size)| size).sum::<u32>(),
            1 << shape::SHAPE_BITS
        );
        for (symbol, (from, size)) in spans.iter().enumerate() {
            assert!(*size > 0);
            assert_eq!(shape.find(*from), symbol);
            assert_eq!(shape.find(from + size - 1), symbol);
            shares.extend(from.to_le_bytes());
        }
    }
    assert_eq!(crc32c(&shares), 0x0982_638e);
}

/// A few batches that are unlike each other.
fn specimens() -> Vec<Vec<u8>> {
    let anchor = Some(TimeAnchor {
        boottime_ms: 1_000,
        utc_ms: 1_790_000_000_000,
        error_ms: 20,
        source: ClockSource::Ntp,
    });
    let temperatures: Vec<_> = (0..60)
        .map(|n| temperature(5_000 + n * 1000 + n % 3, 1, -2_500 + (n * n % 7) as i32))
        .collect();
    let mixed: Vec<_> = (0..40)
        .map(|n| match n % 3 {
            0 => temperature(n * 333, 1, n as i32),
            1 => plain(n * 333, 2, Value::State(n as u16 / 8)),
            _ => plain(
                n * 333,
                9,
                Value::Health(Health {
                    metric: Metric(1),
                    value: n as i64 * 4096,
                }),
            ),
        })
        .collect();
    let mut opaque = vec![0; 100];
    let len = seal_opaque(&header(CodecId::OPENING, 1), b"a catalogue", &mut opaque).unwrap();
    opaque.truncate(len);
    vec![
        sealed(&SealParams { anchor, ..PARAMS }, &temperatures),
        sealed(&PARAMS, &mixed),
        sealed(&PARAMS, &[temperature(0, 0, 0)]),
        opaque,
    ]
}

#[test]
fn every_single_bit_flip_is_detected() {
    for specimen in specimens() {
        assert!(Batch::open(&specimen).is_ok());
        for bit in 0..specimen.len() * 8 {
            let mut flipped = specimen.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Batch::open(&flipped).err();
            let expected = if bit < 8 { "Version" } else { "Crc" };
            assert!(
                std::format!("{error:?}").contains(expected),
                "bit {bit}: {error:?}"
            );
        }
    }
}

#[test]
fn every_truncation_is_detected() {
    for specimen in specimens() {
        for len in 0..specimen.len() {
            assert!(Batch::open(&specimen[..len]).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn a_damaged_payload_still_tells_whose_numbers_it_claims() {
    for mut specimen in specimens() {
        let header = *Batch::open(&specimen).unwrap().header();
        let last = specimen.len() - 5;
        specimen[last] ^= 0x10;
        assert!(matches!(Batch::open(&specimen), Err(OpenError::Crc { .. })));
        assert_eq!(claimed_header(&specimen), Some(header));
    }
}

#[test]
fn a_header_with_anything_unknown_names_the_field() {
    let specimen = specimens().remove(0);
    let changed = |place: usize, byte: u8| {
        let mut body = specimen[..specimen.len() - 4].to_vec();
        body[place] = byte;
        Batch::open(&with_crc(body)).err()
    };
    let flags = specimen[2];
    let header = |field| Some(OpenError::Header { field });
    assert_eq!(changed(2, flags | 0x80), header("flags"));
    assert_eq!(changed(2, flags | 0x03), header("lane"));
    assert_eq!(changed(2, flags | 0x70), header("anchor source"));
    assert_eq!(changed(2, flags & !0x04), header("anchor source"));
    assert_eq!(changed(10, 0xFF), header("epoch"));
    // first_seq is 7, one byte: 0x80 makes it 2 bytes, the second being count, 60; then base_ms is count.
    assert_eq!(changed(12, 0), header("count"));
}

#[test]
fn counts_and_numbers_out_of_range_are_refused() {
    let mut out = vec![0; BATCH_LEN_MAX];
    let many: Vec<_> = (0..=COUNT_MAX as u64)
        .map(|n| temperature(n, 0, 0))
        .collect();
    assert_eq!(
        seal(&PARAMS, &[], &mut out),
        Err(SealError::Count { count: 0 })
    );
    assert_eq!(
        seal(&PARAMS, &many, &mut out),
        Err(SealError::Count {
            count: COUNT_MAX + 1
        })
    );
    assert_eq!(
        opened(&sealed(&PARAMS, &many[..COUNT_MAX])),
        many[..COUNT_MAX]
    );
    for (first_seq, count) in [(u64::MAX, 1), (u64::MAX - 1, 2), (0, 0)] {
        let header = Header {
            first_seq,
            count,
            ..header(CodecId::OPENING, 1)
        };
        let error = SealError::Numbers { first_seq, count };
        assert_eq!(seal_opaque(&header, &[], &mut out), Err(error));
    }
    let last = Header {
        first_seq: u64::MAX - 1,
        ..header(CodecId::OPENING, 1)
    };
    assert!(seal_opaque(&last, &[], &mut out).is_ok());
}

#[test]
fn one_stream_too_many_says_where_to_close_the_batch() {
    let mut out = vec![0; BATCH_LEN_MAX];
    let temperatures: Vec<_> = (0..40).map(|n| temperature(n * 10, n as u8, 5)).collect();
    let error = Err(SealError::TooManySensors { index: 32 });
    assert_eq!(seal(&PARAMS, &temperatures, &mut out), error);
    assert_eq!(
        opened(&sealed(&PARAMS, &temperatures[..32])),
        temperatures[..32]
    );
    let position = Position {
        lat: Degrees1e7(1),
        lon: Degrees1e7(2),
        ..NOWHERE
    };
    let receivers: Vec<_> = (0..12)
        .map(|n| plain(n, n as u8, Value::Position(position)))
        .collect();
    let error = Err(SealError::TooManySensors { index: 10 });
    assert_eq!(seal(&PARAMS, &receivers, &mut out), error);
    assert_eq!(opened(&sealed(&PARAMS, &receivers[..10])), receivers[..10]);
}

#[test]
fn the_widest_batch_of_extremes_fits_its_bound() {
    let extreme = |n: u64| {
        let even = n.is_multiple_of(2);
        let number = if even { i32::MIN } else { i32::MAX };
        let position = Position {
            lat: Degrees1e7(number),
            lon: Degrees1e7(!number),
            height: Some(Millimetres(number)),
            speed: Some(MillimetresPerSecond(!number)),
            course: Some(Course1e5(number)),
            h_acc: Some(AccuracyMm(if even { 0 } else { u32::MAX })),
            dop: Some(DopCenti(if even { 0 } else { u16::MAX })),
            satellites: Some(if even { 0 } else { u8::MAX }),
            fix: FixKind(if even { 0 } else { u8::MAX }),
        };
        let score = Score(if even { 0 } else { u16::MAX });
        let stamp_ms = if even { 0 } else { u64::MAX / 2 + n };
        Reading {
            stamp_ms,
            sensor: (n * 7 % 10) as u8,
            score,
            value: Value::Position(position),
        }
    };
    let readings: Vec<_> = (0..COUNT_MAX as u64).map(extreme).collect();
    let anchor = TimeAnchor {
        boottime_ms: u64::MAX,
        utc_ms: i64::MIN,
        error_ms: u32::MAX,
        source: ClockSource::Gnss,
    };
    let params = SealParams {
        first_seq: u64::MAX - 1000,
        anchor: Some(anchor),
        ..PARAMS
    };
    let mut out = vec![0; BATCH_LEN_MAX];
    let len = seal_extended(&params, &[7; EXTENSION_LEN_MAX], &readings, &mut out).unwrap();
    assert_eq!(opened(&out[..len]), readings);
}

#[test]
fn readings_that_never_change_cost_nothing_after_the_first() {
    let rows =
        |count: u64| -> Vec<_> { (0..count).map(|n| temperature(n * 1000, 3, 640)).collect() };
    let (few, many) = (sealed(&PARAMS, &rows(2)), sealed(&PARAMS, &rows(120)));
    assert!(
        many.len() <= few.len() + 2,
        "{} bytes for 2, {} for 120",
        few.len(),
        many.len()
    );
}

#[test]
fn sensors_that_take_turns_cost_little_more_than_each_alone() {
    let value = |n: u64, sensor: u8| temperature(n * 1000 + n * n % 5, sensor, (n * 7 % 11) as i32);
    let alone: Vec<_> = (0..60).map(|n| value(n, 0)).collect();
    let turns: Vec<_> = (0..60)
        .flat_map(|n| [0, 1, 2].map(|sensor| value(n, sensor)))
        .collect();
    let (alone, turns) = (sealed(&PARAMS, &alone).len(), sealed(&PARAMS, &turns).len());
    assert!(turns < 3 * alone, "{alone} bytes alone, {turns} for three");
}

const NOWHERE: Position = Position {
    lat: Degrees1e7(0),
    lon: Degrees1e7(0),
    height: None,
    speed: None,
    course: None,
    h_acc: None,
    dop: None,
    satellites: None,
    fix: FixKind(0),
};

#[test]
fn a_plan_that_loses_a_reading_is_a_defect_and_names_the_reading() {
    let still = [
        temperature(0, 1, 100),
        temperature(1_000, 1, 100),
        temperature(2_000, 1, 100),
    ];
    let mut moved = still;
    moved[2].value = Value::Temperature(Celsius128(101));
    let mut coarse = [
        temperature(0, 1, 64),
        temperature(1_000, 1, 128),
        temperature(2_000, 1, 256),
    ];
    for (planned, given, index) in [(still, moved, 2), (coarse, still, 0)] {
        let mut out = [0; 512];
        let mut writer = super::range_coder::Writer::new(&mut out, 0);
        let survey = super::survey::Survey::of(&planned).unwrap();
        let written = super::seal::write(&mut writer, survey, &given);
        assert_eq!(written, Err(SealError::Defect { index }));
    }
    coarse[1].stamp_ms += 1;
    let mut out = [0; 512];
    let mut writer = super::range_coder::Writer::new(&mut out, 0);
    let survey = super::survey::Survey::of(&coarse).unwrap();
    assert_eq!(super::seal::write(&mut writer, survey, &coarse), Ok(()));
}
