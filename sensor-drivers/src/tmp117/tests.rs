use super::*;
use crate::error::{Advice, BusClass};
use crate::transcript::{Transcript, no_ack, write, write_read};

const ADDRESS: u8 = 0x48;

fn started(steps: impl IntoIterator<Item = crate::transcript::Step>) -> Tmp117<Transcript> {
    Tmp117::new(Transcript::new(steps), ADDRESS)
}

#[test]
fn start_reads_the_identity_and_writes_the_configuration() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x0f], &[0x31, 0x17]),
        write(ADDRESS, &[0x01, 0x01, 0xc0]),
    ]);
    assert_eq!(sensor.start(0), Ok(500));
    sensor.release().done();
}

#[test]
fn the_revision_is_the_top_digit_of_the_identity() {
    let mut sensor = started([write_read(ADDRESS, &[0x0f], &[0x31, 0x17])]);
    assert_eq!(sensor.identify(), Ok(Tmp117Identity { revision: 3 }));
    sensor.release().done();
}

#[test]
fn another_part_at_the_address_is_named_and_not_written_to() {
    let mut sensor = started([write_read(ADDRESS, &[0x0f], &[0x75, 0x00])]);
    let error = sensor.start(0).unwrap_err();
    assert_eq!(error, SensorError::WrongDevice { found: 0x7500 });
    assert_eq!(error.advice(), Advice::GiveUp);
    sensor.release().done();
}

#[test]
fn a_ready_result_is_fetched_with_its_stamp() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x01], &[0x21, 0xc0]),
        write_read(ADDRESS, &[0x00], &[0xf6, 0x00]),
    ]);
    let sample = Tmp117Sample {
        raw: -20 * 128,
        stamp_ms: 1234,
        ready_seen: true,
    };
    assert_eq!(sensor.fetch(1234), Ok(sample));
    sensor.release().done();
}

#[test]
fn a_lost_ready_bit_delays_a_result_by_two_turns_and_an_old_one_never_comes_again() {
    let not_ready = || write_read(ADDRESS, &[0x01], &[0x01, 0xc0]);
    let temperature = |high| write_read(ADDRESS, &[0x00], &[high, 0x80]);
    let mut steps = std::vec![
        write_read(ADDRESS, &[0x01], &[0x21, 0xc0]),
        temperature(0x0b)
    ];
    for high in [0x0c, 0x0c, 0x0c] {
        steps.extend([not_ready(), not_ready(), not_ready(), temperature(high)]);
    }
    let mut sensor = started(steps);
    assert_eq!(sensor.fetch(0).map(|sample| sample.raw), Ok(23 * 128));
    assert_eq!(sensor.fetch(1000), Err(SensorError::NotReady));
    assert_eq!(sensor.fetch(2000), Err(SensorError::NotReady));
    let sample = Tmp117Sample {
        raw: 25 * 128,
        stamp_ms: 3000,
        ready_seen: false,
    };
    assert_eq!(
        sensor.fetch(3000),
        Ok(sample),
        "it differs from the one before"
    );
    for now_ms in [4000, 5000, 6000, 7000, 8000, 9000] {
        assert_eq!(sensor.fetch(now_ms), Err(SensorError::NotReady));
    }
    sensor.release().done();
}

#[test]
fn without_a_ready_bit_the_first_result_is_none() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x01], &[0x01, 0xc0]),
        write_read(ADDRESS, &[0x01], &[0x01, 0xc0]),
        write_read(ADDRESS, &[0x01], &[0x01, 0xc0]),
        write_read(ADDRESS, &[0x00], &[0x0c, 0x80]),
    ]);
    for now_ms in [1000, 2000, 3000] {
        assert_eq!(sensor.fetch(now_ms), Err(SensorError::NotReady));
    }
    sensor.release().done();
}

#[test]
fn alert_flags_do_not_look_like_a_lost_configuration() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x01], &[0xf1, 0xc0]),
        write_read(ADDRESS, &[0x00], &[0x00, 0x01]),
    ]);
    assert_eq!(sensor.fetch(0).map(|sample| sample.raw), Ok(1));
    sensor.release().done();
}

#[test]
fn a_brown_out_is_noticed_before_the_temperature_is_read() {
    let mut sensor = started([write_read(ADDRESS, &[0x01], &[0x22, 0x20])]);
    let error = sensor.fetch(0).unwrap_err();
    assert_eq!(
        error,
        SensorError::ConfigurationLost {
            found: 0x2220,
            expected: 0x01c0
        }
    );
    assert_eq!(error.advice(), Advice::Reinitialise);
    sensor.release().done();
}

#[test]
fn the_power_on_code_is_never_a_temperature() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x01], &[0x21, 0xc0]),
        write_read(ADDRESS, &[0x00], &[0x80, 0x00]),
    ]);
    assert_eq!(
        sensor.fetch(0),
        Err(SensorError::Implausible { raw: -32768 })
    );
    sensor.release().done();
}

#[test]
fn a_bus_failure_names_the_register() {
    let mut sensor = started([no_ack(ADDRESS, &[0x0f])]);
    let SensorError::Bus {
        class, register, ..
    } = sensor.start(0).unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!((class, register), (BusClass::NoAck, 0x0f));
    sensor.release().done();
}

/// The reference computes from the bits, with the place values of the datasheet: bit 15 counts
/// -256 degC, each bit below half of the one above, 7.8125 thousandths for the last.
#[test]
fn all_65536_codes_equal_the_datasheet_arithmetic() {
    let mut temperatures = 0;
    for code in 0..=u16::MAX {
        let mut tenth_micro_deg: i64 = 0;
        for bit in 0..15 {
            if code >> bit & 1 == 1 {
                tenth_micro_deg += 78_125 << bit;
            }
        }
        if code >> 15 == 1 {
            tenth_micro_deg -= 2_560_000_000;
        }
        let in_range = (-550_000_000..=1_500_000_000).contains(&tenth_micro_deg);
        match decode_temperature(code.to_be_bytes()) {
            Ok(raw) => {
                assert!(in_range, "{code:#06x}");
                assert_eq!(i64::from(raw) * 78_125, tenth_micro_deg);
                temperatures += 1;
            }
            Err(raw) => {
                assert!(!in_range, "{code:#06x}");
                assert_eq!(i64::from(raw) * 78_125, tenth_micro_deg);
            }
        }
        let milli = i64::from(milli_deg_c(code.cast_signed()));
        let twice_the_error = 2 * (milli * 10_000 - tenth_micro_deg);
        assert!(twice_the_error.abs() <= 10_000, "{code:#06x} gave {milli}");
        if twice_the_error.abs() == 10_000 {
            assert_eq!(
                twice_the_error.signum(),
                tenth_micro_deg.signum(),
                "halves go outwards"
            );
        }
    }
    assert_eq!(temperatures, 205 * 128 + 1);
}
