//! Golden bytes of sealed batches, frame version 0xF1, codecs 1 and opaque.
//!
//! If this test fails, do not change the test: you have broken the wire. What vehicles have spooled and
//! centres have stored could not be read any more, and a resent batch would clash with itself. Version 1
//! freezes at release 0.1.0; until then a deliberate change replaces the bytes and CHANGELOG.md says so.

use firmware_shared::batch::{
    BATCH_LEN_MAX, Batch, CodecId, Header, SealParams, seal, seal_extended, seal_opaque,
};
use firmware_shared::checksum::crc32;
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

/// Twelve positions with a minute missing.
fn positions() -> Vec<Reading> {
    let gap_ms = |n: u64| if n > 8 { 60_000 } else { 0 };
    (0..12)
        .map(|n| {
            plain(
                5_000 + n * 1000 + gap_ms(n),
                7,
                Value::Position(fix(n as i32)),
            )
        })
        .collect()
}

#[test]
fn positions_of_one_receiver_through_north_with_a_gap() {
    check(
        &PARAMS,
        &[],
        &positions(),
        &[
            "f10101efcdab8967452301ac020c8827b6f33a8afa5fe6d59200d6af1b18d141a81d7d1379769735",
            "21dceed74766e8d4338928c875a8d7cc8d4e52e3977bc61ad5daee92833202853e35d132401985df",
            "fd441f269ec5d62af83850d94d1d755c046d5d4192a56c0715824ef1a271064ce8bf91cfbeb41942",
            "2b0487c854cbdd13e220406e6f34",
        ],
    );
}

/// Which fits and scales are best is the writer's to say: another choice is no other wire.
#[test]
fn positions_whose_writer_looked_further_ahead() {
    let bytes: Vec<u8> = concat!(
        "f10101efcdab8967452301ac020c8827b6f33a8afa617601a75b1e041b18d141a81d7d1379769735",
        "21dceed74758cf833516b35c74fb4aaa59dc6b144f2d9156014016746f8140d783e045bbe2c4b052",
        "3beac0bc9b148d51a5594671929db088eceabadf3fda17603c31543b0b8e99c11ad1e5c531b30be9",
        "877a203195ec60f5a5ff40821459db",
    )
    .as_bytes()
    .chunks(2)
    .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
    .collect();
    let batch = Batch::open(&bytes).unwrap();
    let read: Vec<_> = batch.readings().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, positions());
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
            "d37337f16f099918c17f985f4fdb90590d36147ec44e2c00a7f40fec73a844ae985712ac8d0cdb31",
            "cc315ddcaf909c6b009d12ecff62df5d0243b8cac56d40ff8b719b23bce17df7dd900048ad6a283f",
            "30af843f7cc8707b01078e1a4cf6e4e5b32f298fc2714d5cb190723c19c5c0612045df8956e96286",
            "4f111e",
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

/// The laws of the codec (distributions, gains, steps, periods, fits) are too many for specimens that a
/// person can read. These are for the machine: many batches, in which every law has its say.
#[test]
fn many_batches_of_all_sorts() {
    let mut random = Random(1);
    let mut frames = Vec::new();
    let mut out = vec![0; BATCH_LEN_MAX];
    for index in 0..600 {
        let readings = sort(index, &mut random);
        let len = seal(&PARAMS, &readings, &mut out).unwrap();
        let read: Vec<_> = Batch::open(&out[..len])
            .unwrap()
            .readings()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, readings, "batch {index}");
        frames.extend_from_slice(&out[..len]);
    }
    // Each frame ends with its CRC-32C, so a CRC-32C of all would be blind to what they say.
    let found = (frames.len(), crc32(&frames));
    assert_eq!(found, (127_868, 0xab36_1b45), "bytes, CRC-32 of all");
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: i64) -> i64 {
        (self.next() % limit.unsigned_abs()) as i64
    }

    /// A sum of three: mostly near zero.
    fn around_zero(&mut self, scale: i64) -> i64 {
        (0..3)
            .map(|_| self.below(2 * scale + 1) - scale)
            .sum::<i64>()
            / 2
    }
}

fn sort(index: i64, random: &mut Random) -> Vec<Reading> {
    let count = [60, 7, 33, 120][(index % 4) as usize];
    let stamps = stamps(index / 3 % 7, count, random);
    let values: Vec<Value> = if index % 3 == 0 {
        track(index / 3, count, random)
    } else {
        numbers(index, count, random)
    };
    let sensors = if index % 3 == 1 { 1 + index % 4 } else { 1 };
    let rows = stamps
        .into_iter()
        .zip(values)
        .enumerate()
        .map(|(row, (stamp_ms, value))| {
            let odd = index % 11 == 5 && random.below(9) == 0;
            let score = Score(if odd {
                300 + random.below(700) as u16
            } else {
                0
            });
            let turn = if index % 13 == 7 {
                random.below(sensors)
            } else {
                row as i64 % sensors
            };
            Reading {
                stamp_ms,
                sensor: turn as u8,
                score,
                value,
            }
        });
    rows.collect()
}

/// Schedules of short and spelt periods with jitter and gaps, drift, steps of the interval, sweeps.
fn stamps(sort: i64, count: i64, random: &mut Random) -> Vec<u64> {
    let mut at_ms = 3_000_000;
    let period_ms = [1000, 100, 200, 500, 2000, 5000, 10_000, 777][random.below(8) as usize];
    let rows = (0..count).map(|row| {
        at_ms += match sort {
            0 | 1 => period_ms,
            2 => {
                period_ms
                    + if random.below(15) == 0 {
                        7 * period_ms
                    } else {
                        0
                    }
            }
            3 => period_ms + random.around_zero(40),
            4 => period_ms + row * row / 3,
            5 => {
                if row % 3 == 0 {
                    period_ms + random.around_zero(300)
                } else {
                    16
                }
            }
            _ => random.below(100_000),
        };
        let jitter_ms = [0, random.below(5), random.below(3), 0, 0, 0, 0][sort as usize];
        (at_ms + jitter_ms) as u64
    });
    rows.collect()
}

/// Numbers that rest, drift, wander, swing, jump; of all scales and steps, and of all kinds.
fn numbers(sort: i64, count: i64, random: &mut Random) -> Vec<Value> {
    let scale = 1 << (sort / 5 % 17);
    let step = [1, 1, 1, 10, 64, 100, 1000, 5, 77][(sort / 7 % 9) as usize];
    let (mut level, mut slope) = (random.around_zero(2000), random.around_zero(scale));
    let row = |row: i64| {
        slope += if sort % 5 == 4 {
            random.around_zero(2)
        } else {
            0
        };
        level += match sort % 5 {
            0 => slope,
            1 => random.around_zero(scale),
            2 => {
                if random.below(20) == 0 {
                    random.around_zero(scale * 50)
                } else {
                    0
                }
            }
            3 => {
                if row % 20 < 10 {
                    scale
                } else {
                    -scale
                }
            }
            _ => slope + random.around_zero(3),
        };
        let noise = if sort % 2 == 0 {
            random.around_zero(2)
        } else {
            0
        };
        let number = ((level + noise) * step).clamp(-(1 << 31), (1 << 31) - 1);
        let small = number as i32;
        match sort % 6 {
            0 | 1 => Value::Temperature(Celsius128(small)),
            2 => Value::Scalar(Scalar {
                value: small,
                unit: Unit::VOLT,
                scale: -3,
            }),
            3 => Value::State(small as u16),
            4 => Value::Fault(Fault {
                kind: FaultKind::BUS_OTHER,
                register: 3,
                code: small,
            }),
            _ => Value::Health(Health {
                metric: Metric::RSS_BYTES,
                value: number << 20,
            }),
        }
    };
    (0..count).map(row).collect()
}

/// Drives whose velocity leads or lags behind the place, in the units of every kind of receiver.
fn track(sort: i64, count: i64, random: &mut Random) -> Vec<Value> {
    const WAYS: [(i64, i64); 8] = [
        (1000, 0),
        (707, 707),
        (0, 1000),
        (-707, 707),
        (-1000, 0),
        (-707, -707),
        (0, -1000),
        (707, -707),
    ];
    let lag = [0, -4, 7, 0, 0][(sort % 5) as usize];
    let noise = 1 << (sort / 2 % 10);
    let (mut lat, mut lon) = (550_000_000 - sort * 9_000_000, 379_000_000);
    let (mut way, mut index, mut before) = (sort % 8, 200, (0, 0));
    let (mut height, mut satellites, mut h_acc) = (120, 9, 5);
    let row = |_| {
        way =
            (way + if random.below(9) == 0 {
                1 + random.below(2) * 6
            } else {
                0
            }) % 8;
        index = (index + random.around_zero(20)).max(0);
        let (num, den, round) = [
            (463, 9, 4),
            (463, 90, 45),
            (250, 9, 4),
            (25, 9, 4),
            (463, 9, 0),
            (1, 1, 0),
            (25, 9, 0),
        ][(sort % 7) as usize];
        let speed = (index * num + round) / den;
        let (north, east) = WAYS[way as usize];
        let velocity = if sort % 5 == 3 {
            (0, 0)
        } else {
            (speed * north / 11_132, speed * east / 6_385)
        };
        lat += velocity.0 + (velocity.0 - before.0) * lag / 8 + random.around_zero(noise);
        lon += velocity.1 + (velocity.1 - before.1) * lag / 8 + random.around_zero(noise);
        before = velocity;
        height += random.around_zero(2);
        satellites += random.around_zero(1);
        h_acc = (h_acc + random.around_zero(1)).max(1);
        let course = (way * 4_500 + random.around_zero(30)).rem_euclid(36_000) * 1000;
        Value::Position(Position {
            lat: Degrees1e7(lat as i32),
            lon: Degrees1e7(lon as i32),
            height: (sort % 9 != 8).then_some(Millimetres((height * 100) as i32)),
            speed: (sort % 10 != 9).then_some(MillimetresPerSecond(speed as i32)),
            course: (index > 20).then_some(Course1e5(course as i32)),
            h_acc: (sort % 4 != 3).then_some(AccuracyMm((h_acc * 500) as u32)),
            dop: (sort % 4 > 1).then_some(DopCenti((h_acc * 10) as u16)),
            satellites: Some(satellites.clamp(4, 40) as u8),
            fix: FixKind(if random.below(40) == 0 { 2 } else { 3 }),
        })
    };
    (0..count).map(row).collect()
}
