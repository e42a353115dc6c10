extern crate std;
use super::*;
use crate::error::BusClass;
use crate::gnss::NoFixReason;
use crate::transcript::{Step, Transcript, no_ack, read, write, write_read};
use crate::ubx::{self, Message};
use std::vec::Vec;

const ADDRESS: u8 = 0x42;

/// The VALSET that asks for NAV-PVT, byte by byte.
const ASK: [u8; 34] = [
    0xb5, 0x62, 0x06, 0x8a, 26, 0, 0, 1, 0, 0, //
    0x01, 0x00, 0x72, 0x10, 1, // UBX out on I2C
    0x06, 0x00, 0x91, 0x20, 1, // NAV-PVT with each epoch
    0x01, 0x00, 0x21, 0x30, 0xe8, 0x03, // every 1000 ms
    0x02, 0x00, 0x21, 0x30, 1, 0, 0, 0,
];

fn ask() -> Vec<u8> {
    let mut message = ASK.to_vec();
    let sums = ubx::checksum(&message[2..32]);
    message[32..].copy_from_slice(&sums);
    message
}

fn available(count: u16) -> Step {
    write_read(ADDRESS, &[0xfd], &count.to_be_bytes())
}

fn polled(
    driver: &mut Ublox<Transcript>,
    now_ms: u64,
) -> (
    Result<DrainStats, SensorError<embedded_hal::i2c::ErrorKind>>,
    Vec<GnssEvent>,
) {
    let mut events = Vec::new();
    let stats = driver.poll(now_ms, &mut |event| events.push(event));
    (stats, events)
}

fn ack(accepted: u8, id: u8) -> Vec<u8> {
    Message::new(5, accepted, &[&[6, id]])
        .unwrap()
        .as_bytes()
        .to_vec()
}

#[test]
fn start_asks_for_the_count_and_then_for_nav_pvt() {
    let mut driver = Ublox::new(
        Transcript::new([available(0), write(ADDRESS, &ask())]),
        ADDRESS,
    );
    assert_eq!(driver.start(0), Ok(()));
    assert_eq!(driver.mode(), UbloxMode::Configuring);
    driver.release().done();
}

#[test]
fn a_message_is_cut_into_pieces_and_never_leaves_a_single_byte() {
    let ask = ask();
    for chunk_len in 8..=40 {
        let mut steps = std::vec![available(0)];
        let mut rest = &ask[..];
        while !rest.is_empty() {
            let mut len = rest.len().min(chunk_len);
            if rest.len() - len == 1 {
                len -= 1;
            }
            steps.push(write(ADDRESS, &rest[..len]));
            rest = &rest[len..];
            assert_ne!(rest.len(), 1);
        }
        let config = UbloxConfig {
            chunk_len,
            ..UbloxConfig::default()
        };
        let mut driver = Ublox::with_config(Transcript::new(steps), ADDRESS, config).unwrap();
        assert_eq!(driver.start(0), Ok(()), "chunk {chunk_len}");
        driver.release().done();
    }
}

#[test]
fn a_chunk_length_out_of_bounds_is_refused_with_the_bounds() {
    for chunk_len in [0, 1, 7, 257] {
        let config = UbloxConfig {
            chunk_len,
            ..UbloxConfig::default()
        };
        let refused = Ublox::with_config(Transcript::new([]), ADDRESS, config);
        let Err(SensorError::Config(error)) = refused else {
            panic!("accepted {chunk_len}")
        };
        assert_eq!((error.key, error.allowed), ("chunk_len", "8 to 256"));
    }
}

#[test]
fn an_empty_receiver_is_asked_for_nothing() {
    let steps = [available(0), write(ADDRESS, &ask()), available(0)];
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let (stats, events) = polled(&mut driver, 100);
    assert_eq!(
        stats,
        Ok(DrainStats {
            emptied: true,
            ..DrainStats::default()
        })
    );
    assert!(events.is_empty());
    driver.release().done();
}

#[test]
fn a_count_is_read_in_pieces_until_the_count_is_zero() {
    let mut sentences = b"$GPRMC,,V,,,,,,,,,,N*53\r\n$GPGGA,,,,,,0,,,,,,,,*66\r\n".to_vec();
    sentences.resize(130, 0xff);
    let steps = [
        available(0),
        write(ADDRESS, &ask()),
        available(130),
        read(ADDRESS, &sentences[..128]),
        read(ADDRESS, &sentences[128..]),
        available(0),
    ];
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let (stats, events) = polled(&mut driver, 100);
    let stats = stats.unwrap();
    assert_eq!((stats.bytes, stats.nmea, stats.epochs), (130, 2, 1));
    assert_eq!(events, [GnssEvent::NoFix(NoFixReason::Searching)]);
    driver.release().done();
}

#[test]
fn a_falsely_set_top_bit_is_masked() {
    let steps = [
        available(0),
        write(ADDRESS, &ask()),
        available(0x8000 | 3),
        read(ADDRESS, b"\r\n\xff"),
        available(0x8000),
    ];
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let stats = polled(&mut driver, 100).0.unwrap();
    assert_eq!(
        (stats.bytes, stats.false_counts, stats.emptied),
        (3, 0, true)
    );
    driver.release().done();
}

#[test]
fn a_count_above_the_buffer_is_not_believed_and_ends_the_poll_after_four_questions() {
    let mut steps = std::vec![available(0), write(ADDRESS, &ask())];
    steps.extend((0..4).map(|_| available(13_666)));
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let stats = polled(&mut driver, 100).0.unwrap();
    assert_eq!(
        (stats.bytes, stats.false_counts, stats.emptied),
        (0, 4, false)
    );
    driver.release().done();
}

#[test]
fn a_phantom_count_of_0x7f_with_only_filler_behind_it_is_given_up() {
    let mut steps = std::vec![available(0), write(ADDRESS, &ask())];
    for _ in 0..4 {
        steps.extend([available(0x7f), read(ADDRESS, &[0xff; 127])]);
    }
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let (stats, events) = polled(&mut driver, 100);
    let stats = stats.unwrap();
    assert_eq!((stats.filler_bytes, stats.false_counts), (508, 4));
    assert!(events.is_empty());
    driver.release().done();
}

#[test]
fn a_refused_valset_is_followed_by_the_older_messages() {
    let nak = ack(0, 0x8a);
    let mut steps = std::vec![available(0), write(ADDRESS, &ask()), available(10)];
    steps.extend([read(ADDRESS, &nak), available(0)]);
    for message in [
        Message::cfg_prt_i2c(ADDRESS, true),
        Message::cfg_rate(1000),
        Message::cfg_msg_nav_pvt(),
    ] {
        steps.push(write(ADDRESS, message.unwrap().as_bytes()));
    }
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    assert_eq!(polled(&mut driver, 100).0.unwrap().configured, 3);
    driver.release().done();
}

#[test]
fn after_a_bus_failure_the_next_poll_configures_again() {
    let steps = [
        available(0),
        write(ADDRESS, &ask()),
        no_ack(ADDRESS, &[0xfd]),
        available(0),
        write(ADDRESS, &ask()),
    ];
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    let failed = polled(&mut driver, 100).0.unwrap_err();
    let SensorError::Bus {
        class, register, ..
    } = failed
    else {
        panic!("{failed}")
    };
    assert_eq!((class, register), (BusClass::NoAck, 0xfd));
    assert_eq!(polled(&mut driver, 1100).0.unwrap().configured, 1);
    driver.release().done();
}

#[test]
fn noise_that_looks_like_a_frame_hides_nothing_for_longer_than_two_polls() {
    let mut noisy = std::vec![0xb5, 0x62, 1, 7, 0xf0, 0x0b];
    noisy.extend(b"$GPRMC,,V,,,,,,,,,,N*53\r\n$GPGGA,,,,,,0,,,,,,,,*66\r\n");
    let steps = [
        available(0),
        write(ADDRESS, &ask()),
        available(u16::try_from(noisy.len()).unwrap()),
        read(ADDRESS, &noisy),
        available(0),
        available(0),
    ];
    let mut driver = Ublox::new(Transcript::new(steps), ADDRESS);
    driver.start(0).unwrap();
    assert!(polled(&mut driver, 100).1.is_empty());
    let (_, events) = polled(&mut driver, 1100);
    assert_eq!(events, [GnssEvent::NoFix(NoFixReason::Searching)]);
    driver.release().done();
}

#[test]
fn the_whole_gnss_state_stays_below_4_kib() {
    assert!(size_of::<Ublox<()>>() <= 4096, "{}", size_of::<Ublox<()>>());
}
