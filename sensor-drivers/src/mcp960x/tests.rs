extern crate std;
use std::vec::Vec;

use super::*;
use crate::error::Advice;
use crate::transcript::{Step, Transcript, write, write_read};

const ADDRESS: u8 = 0x67;
const FRESH: u8 = 0x40;

fn with(steps: impl IntoIterator<Item = Step>) -> Mcp960x<Transcript> {
    Mcp960x::new(Transcript::new(steps), ADDRESS, Thermocouple::K)
}

fn twice(register: u8, bytes: &[u8]) -> [Step; 2] {
    [
        write_read(ADDRESS, &[register], bytes),
        write_read(ADDRESS, &[register], bytes),
    ]
}

fn word(register: u8, deg_c: f64) -> [Step; 2] {
    let raw = (deg_c * 16.0) as i16;
    twice(register, &raw.to_be_bytes())
}

/// The transactions of a good fetch, up to where the caller's own steps begin.
fn fresh(status: u8) -> Vec<Step> {
    let mut steps = Vec::from(twice(0x04, &[status]));
    steps.push(write(ADDRESS, &[0x04, 0]));
    steps
}

#[test]
fn start_identifies_either_part_and_writes_its_settings() {
    for (id, part) in [(0x40, Mcp960xPart::Mcp9600), (0x41, Mcp960xPart::Mcp9601)] {
        let mut steps = Vec::from(twice(0x20, &[id, 0x12]));
        steps.extend([
            write(ADDRESS, &[0x05, 0x02]),
            write(ADDRESS, &[0x06, 0x00]),
            write(ADDRESS, &[0x04, 0x00]),
        ]);
        let mut sensor = with(steps);
        assert_eq!(sensor.start(0), Ok(600));
        assert_eq!(sensor.part(), Some(part));
        sensor.release().done();
    }
    let mut other = with(twice(0x20, &[0x54, 0x00]));
    let error = other.start(0).unwrap_err();
    assert_eq!(error, SensorError::WrongDevice { found: 0x5400 });
    assert_eq!(error.advice(), Advice::GiveUp);
    other.release().done();
}

#[test]
fn the_thermocouple_type_is_written_beside_the_filter() {
    let codes = [
        (Thermocouple::K, 0x02),
        (Thermocouple::J, 0x12),
        (Thermocouple::T, 0x22),
        (Thermocouple::N, 0x32),
        (Thermocouple::S, 0x42),
        (Thermocouple::E, 0x52),
        (Thermocouple::B, 0x62),
        (Thermocouple::R, 0x72),
    ];
    for (thermocouple, settings) in codes {
        let mut steps = Vec::from(twice(0x20, &[0x40, 0x00]));
        steps.extend([
            write(ADDRESS, &[0x05, settings]),
            write(ADDRESS, &[0x06, 0x00]),
            write(ADDRESS, &[0x04, 0x00]),
        ]);
        let mut sensor = Mcp960x::new(Transcript::new(steps), ADDRESS, thermocouple);
        assert_eq!(sensor.start(0), Ok(600));
        sensor.release().done();
    }
}

#[test]
fn a_fresh_result_is_taken_once_and_its_mark_is_cleared_first() {
    let mut steps = fresh(FRESH);
    steps.extend(word(0x02, 24.0));
    steps.extend(word(0x00, -21.5));
    steps.extend(word(0x01, -45.5));
    steps.extend(twice(0x05, &[0x02]));
    steps.extend(twice(0x04, &[0x00]));
    let mut sensor = with(steps);
    let sample = Mcp960xSample {
        hot_deg_c_128: Ok(-2752),
        cold_deg_c_128: 24 * 128,
        stamp_ms: 1234,
    };
    assert_eq!(sensor.fetch(1234), Ok(sample));
    assert_eq!(sensor.fetch(1300), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn two_of_three_readings_decide() {
    for order in [[0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        let good = (412i16 * 16).to_be_bytes();
        let readings = order.map(|good_one| if good_one == 1 { good } else { [1, 1] });
        let needed = if order[2] == 0 { 2 } else { 3 };
        let mut steps = fresh(FRESH);
        steps.extend(word(0x02, 24.0));
        steps.extend(
            readings[..needed]
                .iter()
                .map(|bytes| write_read(ADDRESS, &[0x00], bytes)),
        );
        steps.extend(word(0x01, 388.0));
        steps.extend(twice(0x05, &[0x02]));
        let mut sensor = with(steps);
        let hot = sensor.fetch(0).unwrap().hot_deg_c_128;
        assert_eq!(hot, Ok(412 * 128), "{order:?}");
        sensor.release().done();
    }
}

#[test]
fn three_different_readings_are_no_value() {
    let mut steps = fresh(FRESH);
    steps.extend(word(0x02, 24.0));
    for byte in [1, 2, 3] {
        steps.push(write_read(ADDRESS, &[0x00], &[byte, byte]));
    }
    let mut sensor = with(steps);
    let expected = Err(SensorError::Implausible { raw: 0x0303 });
    assert_eq!(sensor.fetch(0), expected);
    assert_eq!(sensor.disagreements(), 2);
    sensor.release().done();
}

#[test]
fn garbage_that_agrees_with_itself_loses_against_nothing_and_gives_no_value() {
    let good = (412i16 * 16).to_be_bytes();
    let mut steps = fresh(FRESH);
    steps.extend(word(0x02, 24.0));
    for bytes in [[1, 1], [1, 1], good] {
        steps.push(write_read(ADDRESS, &[0x00], &bytes));
    }
    let mut sensor = with(steps);
    let expected = Err(SensorError::Implausible { raw: 412 * 16 });
    assert_eq!(sensor.fetch(0), expected);
    sensor.release().done();
}

#[test]
fn the_code_that_garbage_looks_like_counts_only_when_the_sum_agrees() {
    for (difference, expected) in [
        (-8.0, Ok(2056)),
        (-6.5, Ok(2056)),
        (300.0, Err(SensorError::Implausible { raw: 0x0101 })),
        // Garbage in all three registers does not agree with itself.
        (16.0625, Err(SensorError::Implausible { raw: 0x0101 })),
    ] {
        let cold = if difference == 16.0625 { 16.0625 } else { 24.0 };
        let agreeing = |register: u8, deg_c: f64| {
            let count = if deg_c == 16.0625 { 3 } else { 2 };
            let [one, _] = word(register, deg_c);
            let mut steps = std::vec![one];
            for _ in 1..count {
                let [another, _] = word(register, deg_c);
                steps.push(another);
            }
            steps
        };
        let mut steps = fresh(FRESH);
        steps.extend(agreeing(0x02, cold));
        steps.extend(agreeing(0x00, 16.0625));
        steps.extend(agreeing(0x01, difference));
        if expected.is_ok() {
            steps.extend(twice(0x05, &[0x02]));
        }
        let mut sensor = with(steps);
        let hot = sensor.fetch(0).map(|sample| sample.hot_deg_c_128);
        assert_eq!(hot, expected.map(Ok), "difference {difference}");
        sensor.release().done();
    }
}

#[test]
fn a_value_far_from_the_sum_of_cold_junction_and_difference_is_none() {
    for (difference, plausible) in [(348.0, true), (475.0, true), (477.0, false), (219.0, false)] {
        let mut steps = fresh(FRESH);
        steps.extend(word(0x02, 24.0));
        steps.extend(word(0x00, 372.0));
        steps.extend(word(0x01, difference));
        if plausible {
            steps.extend(twice(0x05, &[0x02]));
        }
        let mut sensor = with(steps);
        assert_eq!(sensor.fetch(0).is_ok(), plausible, "{difference}");
        sensor.release().done();
    }
}

#[test]
fn an_open_or_shorted_thermocouple_is_a_fault_beside_a_good_cold_junction() {
    for (id, status, expected) in [
        (0x41, FRESH | 0x10, ThermocoupleFault::Open),
        (0x41, FRESH | 0x20, ThermocoupleFault::Short),
        (0x40, FRESH | 0x10, ThermocoupleFault::Open),
    ] {
        let mut steps = Vec::from(twice(0x20, &[id, 0x00]));
        steps.extend([
            write(ADDRESS, &[0x05, 0x02]),
            write(ADDRESS, &[0x06, 0x00]),
            write(ADDRESS, &[0x04, 0x00]),
        ]);
        steps.extend(fresh(status));
        steps.extend(word(0x02, 24.0));
        steps.extend(twice(0x05, &[0x02]));
        let mut sensor = with(steps);
        sensor.start(0).unwrap();
        let sample = sensor.fetch(600).unwrap();
        assert_eq!(sample.hot_deg_c_128, Err(expected));
        assert_eq!(sample.cold_deg_c_128, 24 * 128);
        sensor.release().done();
    }
}

#[test]
fn a_brown_out_is_noticed_behind_the_values_and_when_nothing_fresh_comes() {
    let lost = SensorError::ConfigurationLost {
        found: 0,
        expected: 2,
    };
    let mut steps = fresh(FRESH);
    steps.extend(word(0x02, 24.0));
    steps.extend(word(0x00, 90.0));
    steps.extend(word(0x01, 66.0));
    steps.extend(twice(0x05, &[0x00]));
    let mut sensor = with(steps);
    assert_eq!(sensor.fetch(0), Err(lost));
    sensor.release().done();
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.extend(twice(0x04, &[0x00]));
    }
    steps.extend(twice(0x05, &[0x00]));
    let mut silent = with(steps);
    assert_eq!(silent.fetch(0), Err(SensorError::NotReady));
    assert_eq!(silent.fetch(1), Err(SensorError::NotReady));
    assert_eq!(silent.fetch(2), Err(lost));
    silent.release().done();
}

/// The reference adds up place values: bit 15 counts -2048 degC, bit 14 1024 degC, down to bit 0
/// with 1/16 degC.
#[test]
fn all_65536_codes_equal_the_datasheet_arithmetic_within_each_range() {
    let ranges = [
        (Thermocouple::K, -4320, 21_952),
        (Thermocouple::J, -3360, 19_200),
        (Thermocouple::T, -4320, 6400),
        (Thermocouple::N, -4320, 20_800),
        (Thermocouple::S, -800, 28_288),
        (Thermocouple::E, -4320, 16_000),
        (Thermocouple::B, 0, 29_120),
        (Thermocouple::R, -800, 28_288),
    ];
    for code in 0..=u16::MAX {
        let mut sixteenths: i32 = if code & 0x8000 != 0 { -32_768 } else { 0 };
        for bit in 0..15 {
            sixteenths += i32::from(code >> bit & 1) << bit;
        }
        for (thermocouple, min, max) in ranges {
            let decoded = decode_hot(thermocouple, code.to_be_bytes());
            let in_range = (min..=max).contains(&sixteenths);
            assert_eq!(decoded.is_ok(), in_range, "{thermocouple:?} {code:#06x}");
            assert_eq!(i32::from(decoded.unwrap_or_else(|raw| raw)), sixteenths);
        }
        let cold = decode_cold(code.to_be_bytes());
        assert_eq!(cold.is_ok(), (-640..=2000).contains(&sixteenths));
        let raw = cold.unwrap_or_else(|raw| raw);
        assert_eq!(i32::from(raw), sixteenths);
        assert_eq!(sixteenths_deg_c_128(raw) * 16, sixteenths * 128);
    }
}
