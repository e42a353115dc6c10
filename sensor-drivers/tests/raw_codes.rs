//! All 65,536 codes of each temperature part, through its driver and a bus that answers with
//! registers, against the arithmetic of its datasheet.
//!
//! The reference adds up the weights of bits, or compares fractions by cross-multiplication; it
//! shares no step with the codecs. A code that the datasheet does not allow must be an error.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, which clippy cannot tell in functions beside the tests"
)]

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, Operation};
use sensor_drivers::lm75::{Lm75, Lm75Part};
use sensor_drivers::mcp960x::{Mcp960x, Thermocouple};
use sensor_drivers::mcp9808::Mcp9808;
use sensor_drivers::sht4x::{Sht4x, crc8};
use sensor_drivers::tmp102::Tmp102;
use sensor_drivers::tmp117::Tmp117;
use sensor_drivers::{ClassifyBus, SensorError};

/// Registers of a word each; a write of two or three bytes sets one.
#[derive(Debug, Clone)]
struct Part {
    registers: [u16; 256],
    pointer: u8,
    /// One byte, in the upper half of the word.
    narrow: &'static [u8],
    /// Bits that always read 1.
    stuck: (u8, u16),
}

impl Part {
    fn new(registers: &[(u8, u16)], narrow: &'static [u8]) -> Self {
        let mut part = Self {
            registers: [0; 256],
            pointer: 0,
            narrow,
            stuck: (0xff, 0),
        };
        for (register, word) in registers {
            part.registers[usize::from(*register)] = *word;
        }
        part
    }

    fn set(&mut self, register: u8, word: u16) {
        self.registers[usize::from(register)] = word;
    }
}

impl ErrorType for &mut Part {
    type Error = ErrorKind;
}

impl I2c for &mut Part {
    fn transaction(&mut self, _: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        for operation in operations {
            match operation {
                Operation::Write([pointer, value @ ..]) => {
                    self.pointer = *pointer;
                    let word = match value {
                        [high, low] => u16::from_be_bytes([*high, *low]),
                        [high] => u16::from_be_bytes([*high, 0]),
                        _ => continue,
                    };
                    let own = if self.narrow.contains(pointer) {
                        word & 0xff00
                    } else {
                        word
                    };
                    self.registers[usize::from(*pointer)] = own;
                }
                Operation::Write([]) => panic!("an empty message"),
                Operation::Read(into) => {
                    let (stuck, bits) = self.stuck;
                    let mut word = self.registers[usize::from(self.pointer)];
                    if self.pointer == stuck {
                        word |= bits;
                    }
                    into.copy_from_slice(&word.to_be_bytes()[..into.len()]);
                }
            }
        }
        Ok(())
    }
}

/// The value of a two's complement code in which bit `n` weighs `2^(n - fraction_bits)` degC, in
/// 1/128 degC; the sign bit weighs as much below zero.
fn by_weights(code: u16, sign_bit: u32, fraction_bits: u32, lowest_bit: u32) -> i64 {
    // In 1/65536 degC, so that nothing is cut off.
    let weight = |bit: u32| (1i64 << (bit + 16)) >> fraction_bits;
    let sum: i64 = (lowest_bit..sign_bit)
        .filter(|bit| code >> bit & 1 == 1)
        .map(weight)
        .sum();
    let value = if code >> sign_bit & 1 == 1 {
        sum - weight(sign_bit)
    } else {
        sum
    };
    assert_eq!(value % 512, 0, "finer than 1/128 degC");
    value / 512
}

/// Compares every code: `Some` in 1/128 degC must be read, `None` must be an error.
fn compare<E: ClassifyBus + std::fmt::Debug>(
    name: &str,
    (from_deg_c, to_deg_c): (i64, i64),
    reference: impl Fn(u16) -> Option<i64>,
    mut read: impl FnMut(u16) -> Result<i32, SensorError<E>>,
) {
    let (mut good, mut below_zero) = (0, 0);
    for code in 0..=u16::MAX {
        let in_range = |value: &i64| (from_deg_c * 128..=to_deg_c * 128).contains(value);
        let expected = reference(code).filter(in_range);
        match (read(code), expected) {
            (Ok(found), Some(expected)) => {
                assert_eq!(i64::from(found), expected, "{name}: {code:#06x}");
                good += 1;
                below_zero += u32::from(expected < 0);
            }
            (Err(SensorError::Implausible { .. }), None) => {}
            (found, expected) => panic!("{name}: {code:#06x}: {found:?}, not {expected:?}"),
        }
    }
    assert!(
        good > 100 && (below_zero > 50 || from_deg_c == 0),
        "{name}: {good}, {below_zero} below zero"
    );
}

#[test]
fn tmp117() {
    let mut part = Part::new(&[(0x0f, 0x0117)], &[]);
    part.stuck = (0x01, 1 << 13);
    Tmp117::new(&mut part, 0x48).start(0).expect("a TMP117");
    // 0x8000, the power-on code, is -256 degC and outside the range.
    compare(
        "tmp117",
        (-55, 150),
        |code| Some(by_weights(code, 15, 7, 0)),
        |code| {
            part.set(0x00, code);
            let sample = Tmp117::new(&mut part, 0x48).fetch(0)?;
            Ok(i32::from(sample.raw))
        },
    );
}

#[test]
fn mcp9808() {
    let mut part = Part::new(&[(0x06, 0x0054), (0x07, 0x0401)], &[0x08]);
    let mut started = part.clone();
    Mcp9808::new(&mut started, 0x18)
        .start(0)
        .expect("an MCP9808");
    part = started;
    // The three flags on top belong to no value.
    compare(
        "mcp9808",
        (-40, 125),
        |code| Some(by_weights(code & 0x1fff, 12, 4, 0)),
        |code| {
            part.set(0x05, code);
            Ok(Mcp9808::new(&mut part, 0x18).fetch(0)?.deg_c_128)
        },
    );
}

#[test]
fn tmp102_and_tmp112() {
    let mut part = Part::new(&[(0x01, 0x60a0)], &[]);
    part.stuck = (0x01, 0x6000);
    Tmp102::new(&mut part, 0x48).start(0).expect("a TMP102");
    // A low digit means the 13-bit format, or another part.
    compare(
        "tmp102",
        (-55, 128),
        |code| (code & 0x000f == 0).then(|| by_weights(code, 15, 8, 4)),
        |code| {
            part.set(0x00, code);
            Ok(Tmp102::new(&mut part, 0x48).fetch(0)?.deg_c_128)
        },
    );
}

#[test]
fn lm75_and_its_successors() {
    for (kind, bits) in [
        (Lm75Part::Lm75, 9),
        (Lm75Part::Lm75b, 11),
        (Lm75Part::Tmp75, 12),
        (Lm75Part::Tmp105, 12),
    ] {
        let mut part = Part::new(&[], &[0x01]);
        Lm75::new(&mut part, 0x48, kind).start(0).expect("a part");
        let lowest_bit = 16 - bits;
        compare(
            &format!("{kind:?}"),
            (-55, 128),
            |code| {
                let clean = bits < 12 || code & 0x000f == 0;
                clean.then(|| by_weights(code, 15, 8, lowest_bit))
            },
            |code| {
                part.set(0x00, code);
                Ok(Lm75::new(&mut part, 0x48, kind).fetch(0)?.deg_c_128)
            },
        );
    }
}

#[test]
fn mcp9600_and_mcp9601_hot_and_cold() {
    const COLD: i16 = 25 * 16;
    let all = [
        (Thermocouple::K, -270, 1372),
        (Thermocouple::J, -210, 1200),
        (Thermocouple::T, -270, 400),
        (Thermocouple::N, -270, 1300),
        (Thermocouple::S, -50, 1768),
        (Thermocouple::E, -270, 1000),
        (Thermocouple::B, 0, 1820),
        (Thermocouple::R, -50, 1768),
    ];
    let start = |identity: u16, kind: Thermocouple| {
        let mut part = Part::new(&[(0x20, identity)], &[0x04, 0x05, 0x06]);
        // A conversion has ended whenever somebody looks.
        part.stuck = (0x04, 0x4000);
        let _ = Mcp960x::new(&mut part, 0x60, kind)
            .start(0)
            .expect("a part");
        part
    };
    for identity in [0x4012, 0x4112] {
        for (kind, from_deg_c, to_deg_c) in all {
            let mut part = start(identity, kind);
            part.set(0x02, COLD.cast_unsigned());
            let reference = |code: u16| Some(by_weights(code, 15, 4, 0));
            let read = |code: u16| {
                part.set(0x00, code);
                part.set(0x01, code.wrapping_sub(COLD.cast_unsigned()));
                let sample = Mcp960x::new(&mut part, 0x60, kind).fetch(0)?;
                sample.hot_deg_c_128.map_err(|_| SensorError::NotReady)
            };
            compare(
                &format!("{kind:?}"),
                (from_deg_c, to_deg_c),
                reference,
                read,
            );
        }
        let mut part = start(identity, Thermocouple::K);
        compare(
            "cold junction",
            (-40, 125),
            |code| Some(by_weights(code, 15, 4, 0)),
            |code| {
                part.set(0x02, code);
                // Hot and cold are the same metal at the same temperature.
                part.set(0x00, code);
                part.set(0x01, 0);
                Ok(Mcp960x::new(&mut part, 0x60, Thermocouple::K)
                    .fetch(0)?
                    .cold_deg_c_128)
            },
        );
    }
}

/// Commands instead of registers, and a checksum behind each word.
#[derive(Debug)]
struct Air {
    words: [u16; 2],
}

impl ErrorType for &mut Air {
    type Error = ErrorKind;
}

impl I2c for &mut Air {
    fn transaction(&mut self, _: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        if let [Operation::Read(into)] = operations {
            let [t, h] = self.words.map(u16::to_be_bytes);
            into.copy_from_slice(&[t[0], t[1], crc8(&t), h[0], h[1], crc8(&h)]);
        }
        Ok(())
    }
}

/// Whether `found / scale` is the nearest to `(factor * code - offset * 65535) / 65535`.
fn nearest(found: i32, scale: i64, code: u16, factor: i64, offset: i64) -> bool {
    let exact = (factor * i64::from(code) - offset * 65_535) * scale;
    (2 * (i64::from(found) * 65_535 - exact)).abs() <= 65_535
}

#[test]
fn sht4x_temperature_and_humidity() {
    let (mut good, mut cut) = (0, 0);
    for code in 0..=u16::MAX {
        let words = [code, code.rotate_left(8)];
        let mut air = Air { words };
        let mut sensor = Sht4x::new(&mut air, 0x44);
        assert_eq!(sensor.fetch(0), Err(SensorError::NotReady));
        let milli_deg_c = (175_000 * i64::from(code) - 45_000 * 65_535) / 65_535;
        match sensor.fetch(10) {
            Ok(sample) => {
                assert!(nearest(sample.deg_c_128, 128, code, 175, 45), "{code:#06x}");
                assert!((-40_100..=125_100).contains(&milli_deg_c), "{milli_deg_c}");
                let percent = sample.humidity_milli_percent;
                let exact = nearest(percent, 1000, words[1], 125, 6);
                let outside = 125 * i64::from(words[1]) <= 6 * 65_535
                    || 125 * i64::from(words[1]) >= 106 * 65_535;
                let bound = percent == 0 || percent == 100_000;
                assert!(if outside { bound } else { exact }, "{:#06x}", words[1]);
                good += 1;
                cut += u32::from(outside);
            }
            Err(SensorError::Implausible { .. }) => {
                assert!(!(-39_900..=124_900).contains(&milli_deg_c), "{milli_deg_c}");
            }
            Err(other) => panic!("{code:#06x}: {other:?}"),
        }
    }
    assert!(good > 61_000 && cut > 2000, "{good} {cut}");
}
