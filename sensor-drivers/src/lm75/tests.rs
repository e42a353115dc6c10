use super::*;
use crate::error::Advice;
use crate::transcript::{Step, Transcript, write, write_read};

const ADDRESS: u8 = 0x4f;
const PARTS: [Lm75Part; 4] = [
    Lm75Part::Lm75,
    Lm75Part::Lm75b,
    Lm75Part::Tmp75,
    Lm75Part::Tmp105,
];

fn with(part: Lm75Part, steps: impl IntoIterator<Item = Step>) -> Lm75<Transcript> {
    Lm75::new(Transcript::new(steps), ADDRESS, part)
}

#[test]
fn each_part_gets_its_finest_resolution_and_a_configuration_that_is_no_default() {
    for (part, settings) in PARTS.into_iter().zip([0x08, 0x08, 0x68, 0x68]) {
        let mut sensor = with(
            part,
            [
                write_read(ADDRESS, &[0x0f], &[0x50, 0x00]),
                write(ADDRESS, &[0x01, settings]),
            ],
        );
        assert_eq!(sensor.start(0), Ok(300));
        assert_eq!(sensor.fetch(299), Err(SensorError::NotReady));
        sensor.release().done();
    }
}

#[test]
fn a_tmp117_at_the_address_is_left_alone() {
    let mut sensor = with(
        Lm75Part::Lm75,
        [write_read(ADDRESS, &[0x0f], &[0x01, 0x17])],
    );
    let error = sensor.start(0).unwrap_err();
    assert_eq!(error, SensorError::WrongDevice { found: 0x0117 });
    assert_eq!(error.advice(), Advice::GiveUp);
    sensor.release().done();
}

#[test]
fn a_brown_out_is_noticed_behind_the_value() {
    let mut sensor = with(
        Lm75Part::Tmp105,
        [
            write_read(ADDRESS, &[0x00], &[0x00, 0x00]),
            write_read(ADDRESS, &[0x01], &[0x00]),
        ],
    );
    let lost = SensorError::ConfigurationLost {
        found: 0,
        expected: 0x68,
    };
    assert_eq!(sensor.fetch(0), Err(lost));
    sensor.release().done();
}

#[test]
fn undefined_bits_below_the_resolution_do_not_reach_the_value() {
    let mut sensor = with(
        Lm75Part::Lm75,
        [
            write_read(ADDRESS, &[0x00], &[0xff, 0xff]),
            write_read(ADDRESS, &[0x01], &[0xe8]),
        ],
    );
    let sample = Lm75Sample {
        deg_c_128: -64,
        stamp_ms: 7,
    };
    assert_eq!(sensor.fetch(7), Ok(sample));
    sensor.release().done();
}

/// The reference adds up place values: bit 15 counts -128 degC, bit 14 64 degC, and so on down
/// to the last bit that the part measures.
#[test]
fn all_65536_codes_of_each_part_equal_the_datasheet_arithmetic() {
    for part in PARTS {
        let bits: u32 = match part {
            Lm75Part::Lm75 => 9,
            Lm75Part::Lm75b => 11,
            Lm75Part::Tmp75 | Lm75Part::Tmp105 => 12,
        };
        let mut temperatures = 0;
        for code in 0..=u16::MAX {
            let mut deg_c_256: i32 = if code & 0x8000 != 0 { -32_768 } else { 0 };
            for bit in (16 - bits)..15 {
                deg_c_256 += i32::from(code >> bit & 1) << bit;
            }
            let clean = bits < 12 || code % 16 == 0;
            let valid = clean && deg_c_256 >= -55 * 256;
            match decode_temperature(part, code.to_be_bytes()) {
                Ok(deg_c_128) => {
                    assert!(valid, "{part:?} {code:#06x}");
                    assert_eq!(deg_c_128 * 2, deg_c_256, "{part:?} {code:#06x}");
                    temperatures += 1;
                }
                Err(word) => assert!(!valid && word == code, "{part:?} {code:#06x}"),
            }
        }
        let per_degree = if bits < 12 { 256 } else { 16 };
        assert_eq!(temperatures, 183 * per_degree, "{part:?}");
    }
}
