extern crate std;
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// A NAV-PVT payload from the offsets of the interface description, written apart from the
/// decoder's.
fn payload(fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut payload = std::vec![0; 92];
    for (offset, bytes) in fields {
        payload[*offset..*offset + bytes.len()].copy_from_slice(bytes);
    }
    payload
}

#[test]
fn nav_pvt_fields_are_read_from_their_places() {
    let pvt = NavPvt::decode(&payload(&[
        (0, &313_048_000u32.to_le_bytes()),
        (4, &[0xe7, 0x07, 6, 28, 14, 57, 10, 0x67]),
        (12, &79u32.to_le_bytes()),
        (16, &78_505i32.to_le_bytes()),
        (20, &[3, 0x81, 0xea, 9]),
        (24, &375_980_923i32.to_le_bytes()),
        (28, &(-556_025_880i32).to_le_bytes()),
        (32, &999i32.to_le_bytes()),
        (36, &(-1234i32).to_le_bytes()),
        (40, &4321u32.to_le_bytes()),
        (44, &999u32.to_le_bytes()),
        (60, &777i32.to_le_bytes()),
        (64, &12_345_678i32.to_le_bytes()),
        (76, &156u16.to_le_bytes()),
        (78, &[1]),
    ]));
    let expected = NavPvt {
        itow_ms: 313_048_000,
        utc_ms: Some(1_687_964_230_000),
        fully_resolved: true,
        t_acc_ns: 79,
        fix_type: 3,
        fix_ok: true,
        carrier_solution: 2,
        invalid_llh: true,
        satellites: 9,
        lon_1e7_deg: 375_980_923,
        lat_1e7_deg: -556_025_880,
        height_msl_mm: -1234,
        h_acc_mm: 4321,
        speed_mm_s: 777,
        course_1e5_deg: 12_345_678,
        pdop_x100: 156,
    };
    assert_eq!(pvt, Some(expected));
}

#[test]
fn utc_is_known_only_when_date_and_time_are_valid_and_exist() {
    let utc = |valid: u8, date: [u8; 7], nano: i32| {
        let [y0, y1, month, day, h, m, s] = date;
        let fields = [y0, y1, month, day, h, m, s, valid];
        NavPvt::decode(&payload(&[(4, &fields), (16, &nano.to_le_bytes())]))
            .unwrap()
            .utc_ms
    };
    let date = [0xe8, 0x07, 1, 30, 15, 31, 52];
    let second = 1_706_628_712_000;
    assert_eq!(utc(3, date, 0), Some(second));
    assert_eq!(utc(1, date, 0), None);
    assert_eq!(utc(2, date, 0), None);
    // The nanoseconds are signed and rounded to the nearest millisecond.
    assert_eq!(utc(3, date, -422_154), Some(second));
    assert_eq!(utc(3, date, -600_000), Some(second - 1));
    assert_eq!(utc(3, date, 250_400_000), Some(second + 250));
    assert_eq!(utc(3, [0xe8, 0x07, 2, 30, 15, 31, 52], 0), None);
    assert_eq!(utc(3, [0xe8, 0x07, 1, 30, 24, 31, 52], 0), None);
}

#[test]
fn a_short_payload_is_refused_and_the_84_byte_form_is_read() {
    let whole = payload(&[(20, &[3])]);
    assert_eq!(NavPvt::decode(&whole[..83]), None);
    assert_eq!(NavPvt::decode(&whole[..84]).unwrap().fix_type, 3);
}

#[test]
fn answers_name_the_message_they_answer() {
    let ack = Ack {
        accepted: true,
        class: 6,
        id: 0x8a,
    };
    assert_eq!(Ack::decode(5, 1, &[6, 0x8a]), Some(ack));
    assert_eq!(
        Ack::decode(5, 0, &[6, 1]),
        Some(Ack {
            accepted: false,
            class: 6,
            id: 1
        })
    );
    assert_eq!(Ack::decode(5, 2, &[6, 1]), None);
    assert_eq!(Ack::decode(5, 1, &[6]), None);
    assert_eq!(Ack::decode(6, 1, &[6, 1]), None);
}

#[test]
fn configuration_messages_have_the_documented_bytes() {
    let message = Message::cfg_valset(&[(KEY_RATE_MEAS, 1000), (KEY_MSGOUT_NAV_PVT_I2C, 1)]);
    assert_eq!(
        message.unwrap().as_bytes(),
        [
            0xb5, 0x62, 0x06, 0x8a, 15, 0, 0, 1, 0, 0, 0x01, 0x00, 0x21, 0x30, 0xe8, 0x03, 0x06,
            0x00, 0x91, 0x20, 1, 0x95, 0x63
        ]
    );
    // The classic "NAV-PVT on this port" message, checksum and all.
    assert_eq!(
        Message::cfg_msg_nav_pvt().unwrap().as_bytes(),
        [0xb5, 0x62, 0x06, 0x01, 3, 0, 0x01, 0x07, 1, 0x13, 0x51]
    );
    // 1 Hz, one solution for each measurement, GPS time.
    assert_eq!(
        Message::cfg_rate(1000).unwrap().as_bytes(),
        [
            0xb5, 0x62, 0x06, 0x08, 6, 0, 0xe8, 0x03, 1, 0, 1, 0, 0x01, 0x39
        ]
    );
    let port = Message::cfg_prt_i2c(0x42, false).unwrap();
    let payload = &port.as_bytes()[6..26];
    assert_eq!(
        payload,
        [
            0, 0, 0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0
        ]
    );
}

#[test]
fn a_message_that_does_not_fit_is_refused_and_never_cut() {
    assert!(Message::new(6, 0, &[&[0; 56]]).is_some());
    assert!(Message::new(6, 0, &[&[0; 57]]).is_none());
    assert!(Message::cfg_valset(&[(KEY_MSGOUT_NAV_PVT_I2C, 256)]).is_none());
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..120)) {
        std::hint::black_box(NavPvt::decode(&payload));
        std::hint::black_box(Ack::decode(5, 1, &payload));
        std::hint::black_box(Message::new(1, 2, &[&payload]));
    }
}

proptest! {
    #[test]
    fn the_checksum_is_the_byte_wise_sums_of_the_protocol(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ones in 0usize..70_000,
    ) {
        let reference = |bytes: &[u8]| {
            let (mut a, mut b) = (0u8, 0u8);
            for byte in bytes {
                a = a.wrapping_add(*byte);
                b = b.wrapping_add(a);
            }
            [a, b]
        };
        prop_assert_eq!(checksum(&bytes), reference(&bytes));
        let long = std::vec![0xff; ones];
        prop_assert_eq!(checksum(&long), reference(&long));
    }
}
