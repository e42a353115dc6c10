use super::*;
use crate::error::Advice;
use crate::transcript::{Step, Transcript, no_ack_read, read, write};

const ADDRESS: u8 = 0x44;

fn with(steps: impl IntoIterator<Item = Step>) -> Sht4x<Transcript> {
    Sht4x::new(Transcript::new(steps), ADDRESS)
}

/// Two words with their CRC, by a table of single-bit remainders instead of a shift register.
fn answer(words: [u16; 2]) -> [u8; 6] {
    // x^8 to x^15 modulo x^8 + x^5 + x^4 + 1.
    const REMAINDERS: [u8; 8] = [0x31, 0x62, 0xc4, 0xb9, 0x43, 0x86, 0x3d, 0x7a];
    let step = |crc: u8, byte: u8| {
        (0..8)
            .filter(|bit| (crc ^ byte) >> bit & 1 == 1)
            .fold(0, |sum, bit: usize| sum ^ REMAINDERS[bit])
    };
    let with_crc = |word: u16| {
        let [high, low] = word.to_be_bytes();
        [high, low, step(step(0xff, high), low)]
    };
    let [a, b] = words.map(with_crc);
    [a[0], a[1], a[2], b[0], b[1], b[2]]
}

#[test]
fn the_checksum_is_the_datasheets() {
    // The datasheet's example.
    assert_eq!(crc8(&[0xbe, 0xef]), 0x92);
    for word in 0..=u16::MAX {
        let expected = answer([word, 0]);
        assert_eq!(crc8(&word.to_be_bytes()), expected[2], "{word:#06x}");
    }
}

#[test]
fn the_serial_number_is_checked_then_a_measurement_is_asked_for_and_taken_at_the_next_turn() {
    let mut sensor = with([
        write(ADDRESS, &[0x89]),
        read(ADDRESS, &answer([0x1234, 0x5678])),
        write(ADDRESS, &[0xfd]),
        read(ADDRESS, &answer([0x6666, 0x8000])),
        write(ADDRESS, &[0xfd]),
    ]);
    assert_eq!(sensor.start(0), Ok(10));
    assert_eq!(sensor.fetch(10), Err(SensorError::NotReady));
    assert_eq!(sensor.serial(), Some(0x1234_5678));
    let sample = Sht4xSample {
        // 0x6666 is two fifths of 65535: 25 degC.
        deg_c_128: 25 * 128,
        humidity_milli_percent: 56_501,
        raw_temperature: 0x6666,
        raw_humidity: 0x8000,
        stamp_ms: 10,
    };
    assert_eq!(sensor.fetch(110), Ok(sample));
    assert_eq!(sensor.fetch(1000), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn no_acknowledge_while_measuring_is_not_ready_and_afterwards_an_error() {
    let mut sensor = with([
        write(ADDRESS, &[0xfd]),
        no_ack_read(ADDRESS),
        no_ack_read(ADDRESS),
        write(ADDRESS, &[0xfd]),
    ]);
    assert_eq!(sensor.fetch(0), Err(SensorError::NotReady));
    assert_eq!(sensor.fetch(9), Err(SensorError::NotReady));
    let error = sensor.fetch(10).unwrap_err();
    assert_eq!(error.advice(), Advice::Reinitialise);
    let SensorError::Bus {
        class, register, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((class, register), (BusClass::NoAck, 0xfd));
    assert_eq!(sensor.fetch(20), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn a_measurement_that_nobody_took_in_time_is_asked_for_again() {
    let mut sensor = with([write(ADDRESS, &[0xfd]), write(ADDRESS, &[0xfd])]);
    assert_eq!(sensor.fetch(0), Err(SensorError::NotReady));
    assert_eq!(sensor.fetch(1001), Err(SensorError::NotReady));
    sensor.release().done();
}

#[test]
fn every_single_bit_error_and_the_garbage_of_a_stretched_clock_fail_the_checksum() {
    let good = answer([0x6666, 0x8000]);
    for bit in 0..48 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut sensor = with([write(ADDRESS, &[0xfd]), read(ADDRESS, &bad)]);
        assert_eq!(sensor.fetch(0), Err(SensorError::NotReady));
        let error = sensor.fetch(10).unwrap_err();
        assert!(
            matches!(error, SensorError::Crc { register: 0xfd, .. }),
            "bit {bit}"
        );
        assert_eq!(sensor.crc_errors(), 1);
        sensor.release().done();
    }
    for byte in [0, 1, 0xff] {
        let computed = crc8(&[byte; 2]);
        let received = byte;
        assert_ne!(computed, received);
        let expected = CrcMismatch { computed, received };
        assert_eq!(decode_words([byte; 6]), Err(expected));
    }
}

#[test]
fn a_wrong_checksum_of_the_serial_number_asks_for_nothing_more() {
    let mut sensor = with([write(ADDRESS, &[0x89]), read(ADDRESS, &[0xff; 6])]);
    sensor.start(0).unwrap();
    let expected = Err(SensorError::Crc {
        register: 0x89,
        computed: 0xac,
        received: 0xff,
    });
    assert_eq!(sensor.fetch(10), expected);
    assert_eq!(sensor.serial(), None);
    sensor.release().done();
}

/// The reference compares cross-multiplied: a value is right when twice its distance from the
/// exact fraction is below one unit.
#[test]
fn all_65536_codes_of_both_words_equal_the_datasheet_arithmetic() {
    let mut temperatures = 0;
    for code in 0..=u16::MAX {
        let exact = |factor: i128, offset: i128, scale: i128| {
            (factor * i128::from(code) + offset * 65_535) * scale
        };
        let found = i128::from(deg_c_128(code)) * 65_535;
        let error = 2 * (found - exact(175, -45, 128));
        assert!(error.abs() < 65_535, "{code:#06x}");
        let found = i128::from(humidity_milli_percent(code)) * 65_535;
        let error = 2 * (found - exact(125, -6, 1000));
        assert!(error.abs() < 65_535, "{code:#06x}");
        match sample::<()>([code, code], 0) {
            Ok(sample) => {
                assert_eq!(sample.deg_c_128, deg_c_128(code));
                assert!((-5120..=16_000).contains(&sample.deg_c_128));
                assert!((0..=100_000).contains(&sample.humidity_milli_percent));
                temperatures += 1;
            }
            Err(error) => {
                let raw = i32::from(code);
                assert_eq!(error, SensorError::Implausible { raw });
                let (low, high) = (
                    exact(175, -45, 2) < -80 * 65_535,
                    exact(175, -45, 2) > 250 * 65_535,
                );
                assert!(low || high, "{code:#06x}");
            }
        }
    }
    assert!(temperatures > 61_000, "{temperatures}");
}

#[test]
fn humidity_beyond_the_ends_is_cut_and_its_word_kept() {
    let dry = sample::<()>([0x6666, 0], 0).unwrap();
    assert_eq!((dry.humidity_milli_percent, dry.raw_humidity), (0, 0));
    let wet = sample::<()>([0x6666, 0xffff], 0).unwrap();
    assert_eq!(
        (wet.humidity_milli_percent, wet.raw_humidity),
        (100_000, 0xffff)
    );
    assert_eq!(
        (humidity_milli_percent(0), humidity_milli_percent(0xffff)),
        (-6000, 119_000)
    );
}
