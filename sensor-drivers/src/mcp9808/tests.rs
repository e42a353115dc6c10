use super::*;
use crate::error::{Advice, BusClass};
use crate::transcript::{Step, Transcript, no_ack, write, write_read};

const ADDRESS: u8 = 0x18;

fn started(steps: impl IntoIterator<Item = Step>) -> Mcp9808<Transcript> {
    Mcp9808::new(Transcript::new(steps), ADDRESS)
}

#[test]
fn start_checks_maker_and_device_and_writes_resolution_and_configuration() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x06], &[0x00, 0x54]),
        write_read(ADDRESS, &[0x07], &[0x04, 0x03]),
        write(ADDRESS, &[0x08, 0x03]),
        write(ADDRESS, &[0x01, 0x02, 0x00]),
    ]);
    assert_eq!(sensor.start(0), Ok(250));
    sensor.release().done();
}

#[test]
fn another_maker_and_another_device_are_named_and_not_written_to() {
    let mut maker = started([write_read(ADDRESS, &[0x06], &[0x00, 0x55])]);
    let error = maker.start(0).unwrap_err();
    assert_eq!(error, SensorError::WrongDevice { found: 0x0055 });
    assert_eq!(error.advice(), Advice::GiveUp);
    maker.release().done();
    let mut device = started([
        write_read(ADDRESS, &[0x06], &[0x00, 0x54]),
        write_read(ADDRESS, &[0x07], &[0x05, 0x00]),
    ]);
    assert_eq!(
        device.start(0),
        Err(SensorError::WrongDevice { found: 0x0500 })
    );
    device.release().done();
}

#[test]
fn temperatures_below_zero_keep_their_sign_whatever_the_alert_flags_say() {
    for flags in 0..8 {
        let mut sensor = started([
            write_read(ADDRESS, &[0x05], &[flags << 5 | 0x1f, 0x60]),
            write_read(ADDRESS, &[0x01], &[0x02, 0x00]),
        ]);
        let sample = Mcp9808Sample {
            raw: -160,
            deg_c_128: -10 * 128,
            stamp_ms: 1234,
        };
        assert_eq!(sensor.fetch(1234), Ok(sample), "flags {flags:#05b}");
        sensor.release().done();
    }
}

#[test]
fn the_zero_degrees_of_a_part_that_has_not_converted_yet_are_not_read() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x06], &[0x00, 0x54]),
        write_read(ADDRESS, &[0x07], &[0x04, 0x00]),
        write(ADDRESS, &[0x08, 0x03]),
        write(ADDRESS, &[0x01, 0x02, 0x00]),
    ]);
    sensor.start(1000).unwrap();
    assert_eq!(sensor.fetch(1249), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn a_brown_out_between_conversion_and_reading_is_noticed() {
    let mut sensor = started([
        write_read(ADDRESS, &[0x05], &[0x00, 0x00]),
        write_read(ADDRESS, &[0x01], &[0x00, 0x00]),
    ]);
    let lost = SensorError::ConfigurationLost {
        found: 0,
        expected: 0x0200,
    };
    assert_eq!(sensor.fetch(0), Err(lost));
    sensor.release().done();
}

#[test]
fn a_bus_failure_names_the_register() {
    let mut sensor = started([no_ack(ADDRESS, &[0x06])]);
    let Err(SensorError::Bus {
        class, register, ..
    }) = sensor.start(0)
    else {
        panic!("another error");
    };
    assert_eq!((class, register), (BusClass::NoAck, 0x06));
    sensor.release().done();
}

/// The reference adds up the place values of the datasheet's register table: bit 12 counts
/// -256 degC, bits 11 to 0 count 128 degC down to 1/16; bits 15 to 13 count nothing.
#[test]
fn all_65536_codes_equal_the_datasheet_arithmetic() {
    let mut temperatures = 0;
    for code in 0..=u16::MAX {
        let mut sixteenths: i32 = if code & 0x1000 != 0 { -4096 } else { 0 };
        for bit in 0..12 {
            sixteenths += i32::from(code >> bit & 1) * (1 << bit);
        }
        let in_range = (-640..=2000).contains(&sixteenths);
        let decoded = decode_temperature(code.to_be_bytes());
        assert_eq!(decoded.is_ok(), in_range, "{code:#06x}");
        let raw = decoded.unwrap_or_else(|raw| raw);
        assert_eq!(i32::from(raw), sixteenths, "{code:#06x}");
        assert_eq!(sixteenths_deg_c_128(raw) * 16, sixteenths * 128);
        temperatures += u32::from(decoded.is_ok());
    }
    assert_eq!(temperatures, 8 * (165 * 16 + 1));
}
