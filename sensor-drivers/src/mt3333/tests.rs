extern crate std;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::error::BusClass;
use crate::transcript::{Transcript, no_ack_read, read};

const ADDRESS: u8 = 0x10;

fn sentence(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    std::format!("${body}*{sum:02X}\r\n").into_bytes()
}

fn epoch(second: u32) -> Vec<u8> {
    let rmc = std::format!("GNRMC,1531{second:02}.000,A,4800.0,N,00900.0,E,1.0,2.0,300127,,,A");
    let gga = std::format!("GNGGA,1531{second:02}.000,4800.0,N,00900.0,E,1,09,1.1,7.5,M,,M,,");
    [sentence(&rmc), sentence(&gga)].concat()
}

/// The stream as packets: 254 bytes, padded, and the padding byte at the end.
fn packets(stream: &[u8]) -> Vec<Vec<u8>> {
    let packet = |bytes: &[u8]| {
        let mut packet = bytes.to_vec();
        packet.resize(PACKET_LEN, PADDING);
        packet
    };
    stream.chunks(254).map(packet).collect()
}

/// Seconds of day of the fixes, and the totals.
fn run(packets: &[Vec<u8>]) -> (Vec<String>, PacketStats) {
    let steps = packets.iter().map(|packet| read(ADDRESS, packet));
    let mut driver = Mt3333::new(Transcript::new(steps), ADDRESS);
    driver.start(0);
    let (mut fixes, mut totals) = (Vec::new(), PacketStats::default());
    for n in 0..packets.len() as u64 {
        let stats = driver
            .poll(n * PAUSE_MS, &mut |event| {
                if let GnssEvent::Fix(fix) = event {
                    fixes.push(std::format!("{}", fix.epoch));
                }
            })
            .unwrap();
        totals.bytes += stats.bytes;
        totals.nmea += stats.nmea;
        totals.epochs += stats.epochs;
        totals.junk_bytes += stats.junk_bytes;
        totals.emptied = stats.emptied;
    }
    driver.release().done();
    (fixes, totals)
}

#[test]
fn sentences_that_span_packets_are_found_between_the_padding() {
    let stream: Vec<u8> = (0..30).flat_map(epoch).collect();
    let idle = std::vec![PADDING; PACKET_LEN];
    let mut all = std::vec![idle.clone()];
    all.extend(packets(&stream));
    all.push(idle);
    let (fixes, totals) = run(&all);
    assert_eq!(fixes.len(), 30);
    assert_eq!(fixes[29], "2027-01-30T15:31:29.000Z");
    assert_eq!((totals.nmea, totals.epochs, totals.junk_bytes), (60, 30, 0));
    assert!(totals.emptied);
}

#[test]
fn a_sentence_that_was_cut_by_padding_is_whole_again() {
    let stream = epoch(7);
    for cut in 1..stream.len().min(254) {
        let (first, second) = stream.split_at(cut);
        let both = [packets(first), packets(second)].concat();
        assert_eq!(run(&both).0.len(), 1, "cut at {cut}");
    }
}

#[test]
fn casic_binary_between_the_sentences_costs_none_of_them() {
    // BA CE, length, class, id, payload, sum of four bytes; the payload holds start markers.
    let casic = [
        0xba, 0xce, 8, 0, 1, 2, b'$', 0xb5, 0x62, 1, 7, 0, 0xff, b'*', 1, 2, 3, 4,
    ];
    let mut stream = Vec::new();
    for second in 0..30 {
        stream.extend(casic);
        stream.extend(epoch(second));
    }
    // 0xb5 0x62 with a length may hold the sentences behind it back, and no longer than that.
    stream.resize(stream.len() + 4000, PADDING);
    let (fixes, totals) = run(&packets(&stream));
    assert_eq!(fixes.len(), 30);
    assert!(totals.junk_bytes >= 30 * 10, "{}", totals.junk_bytes);
}

#[test]
fn a_receiver_is_not_read_within_two_milliseconds() {
    let idle = std::vec![PADDING; PACKET_LEN];
    let steps = [read(ADDRESS, &idle), read(ADDRESS, &idle)];
    let mut driver = Mt3333::new(Transcript::new(steps), ADDRESS);
    driver.start(0);
    let empty = PacketStats {
        emptied: true,
        ..PacketStats::default()
    };
    let early = PacketStats::default();
    for (now_ms, expected) in [(10, empty), (10, early), (11, early), (12, empty)] {
        assert_eq!(
            driver.poll(now_ms, &mut |_| {}),
            Ok(expected),
            "at {now_ms}"
        );
    }
    driver.release().done();
}

#[test]
fn a_full_packet_asks_for_another_poll() {
    let mut full = std::vec![b'x'; 254];
    for (last, bytes) in [(b'x', 254), (PADDING, 253)] {
        // A line may end with the packet.
        full[253] = last;
        let (_, totals) = run(&packets(&full));
        assert!(!totals.emptied);
        assert_eq!(totals.bytes, bytes);
    }
    full[252] = PADDING;
    assert!(run(&packets(&full)).1.emptied);
}

#[test]
fn time_has_a_bound_only_after_the_receiver_was_dry() {
    let idle = std::vec![PADDING; PACKET_LEN];
    let steps = [
        read(ADDRESS, &packets(&epoch(1))[0]),
        read(ADDRESS, &idle),
        read(ADDRESS, &packets(&epoch(2))[0]),
    ];
    let mut driver = Mt3333::new(Transcript::new(steps), ADDRESS);
    driver.start(0);
    let mut times = Vec::new();
    for now_ms in [1000, 1100, 2000] {
        driver
            .poll(now_ms, &mut |event| {
                if let GnssEvent::Time(time) = event {
                    times.push((now_ms, time.accuracy_ms));
                }
            })
            .unwrap();
    }
    // None with the first packet; then 900 ms since it was dry, 500 ms of the receiver, 3 s of leap
    // seconds.
    assert_eq!(times, [(2000, 4400)]);
    driver.release().done();
}

#[test]
fn a_bus_failure_is_told() {
    let mut driver = Mt3333::new(Transcript::new([no_ack_read(ADDRESS)]), ADDRESS);
    driver.start(0);
    let Err(SensorError::Bus { class, .. }) = driver.poll(0, &mut |_| {}) else {
        panic!("no error")
    };
    assert_eq!(class, BusClass::NoAck);
    driver.release().done();
}
