use super::*;
use crate::error::Advice;
use crate::transcript::{Step, Transcript, write, write_read};

const ADDRESS: u8 = 0x49;

fn with(steps: impl IntoIterator<Item = Step>) -> Tmp102<Transcript> {
    Tmp102::new(Transcript::new(steps), ADDRESS)
}

#[test]
fn start_asks_for_a_tmp117_looks_at_the_signature_and_writes_the_configuration() {
    let mut sensor = with([
        write_read(ADDRESS, &[0x0f], &[0x50, 0x00]),
        write_read(ADDRESS, &[0x01], &[0x60, 0xa0]),
        write(ADDRESS, &[0x01, 0x08, 0x80]),
    ]);
    assert_eq!(sensor.start(0), Ok(285));
    assert_eq!(sensor.fetch(284), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn a_tmp117_and_a_part_without_the_signature_are_left_alone() {
    let mut other = with([write_read(ADDRESS, &[0x0f], &[0x31, 0x17])]);
    let error = other.start(0).unwrap_err();
    assert_eq!(error, SensorError::WrongDevice { found: 0x3117 });
    assert_eq!(error.advice(), Advice::GiveUp);
    other.release().done();
    for word in [[0x20, 0xa0], [0x60, 0xa1], [0x01, 0x01], [0xff, 0xff]] {
        let mut other = with([
            write_read(ADDRESS, &[0x0f], &[0x50, 0x00]),
            write_read(ADDRESS, &[0x01], &word),
        ]);
        let found = u16::from_be_bytes(word);
        assert_eq!(other.start(0), Err(SensorError::WrongDevice { found }));
        other.release().done();
    }
}

#[test]
fn a_value_counts_only_when_the_configuration_is_still_there_behind_it() {
    for (configuration, expected) in [
        ([0x68, 0x80], Ok(-25 * 128)),
        // The one-shot and alert bits say nothing about the settings.
        ([0xe8, 0xa0], Ok(-25 * 128)),
        (
            [0x60, 0xa0],
            Err(SensorError::ConfigurationLost {
                found: 0x60a0,
                expected: 0x0880,
            }),
        ),
    ] {
        let mut sensor = with([
            write_read(ADDRESS, &[0x00], &[0xe7, 0x00]),
            write_read(ADDRESS, &[0x01], &configuration),
        ]);
        assert_eq!(sensor.fetch(5).map(|sample| sample.deg_c_128), expected);
        sensor.release().done();
    }
}

#[test]
fn the_garbage_of_a_stretched_clock_is_not_a_temperature() {
    let mut sensor = with([
        write_read(ADDRESS, &[0x00], &[0x01, 0x01]),
        write_read(ADDRESS, &[0x01], &[0x68, 0x80]),
    ]);
    let expected = Err(SensorError::Implausible { raw: 0x0101 });
    assert_eq!(sensor.fetch(5), expected);
    sensor.release().done();
}

/// The reference adds up place values: bit 15 counts -128 degC, bit 14 64 degC, down to bit 4
/// with 1/16 degC.
#[test]
fn all_65536_codes_equal_the_datasheet_arithmetic() {
    let mut temperatures = 0;
    for code in 0..=u16::MAX {
        let mut sixteenths: i32 = if code & 0x8000 != 0 { -2048 } else { 0 };
        for bit in 4..15 {
            sixteenths += i32::from(code >> bit & 1) * (1 << (bit - 4));
        }
        let valid = code % 16 == 0 && sixteenths >= -880;
        match decode_temperature(code.to_be_bytes()) {
            Ok(deg_c_128) => {
                assert!(valid, "{code:#06x}");
                assert_eq!(deg_c_128 * 16, sixteenths * 128, "{code:#06x}");
                temperatures += 1;
            }
            Err(word) => assert!(!valid && word == code, "{code:#06x}"),
        }
    }
    assert_eq!(temperatures, 55 * 16 + 2048);
}
