use proptest::prelude::*;

use super::*;
use crate::id::{Epoch, Lane, SeqRange, StreamId};

fn sample_ack() -> Ack {
    let entry = AckEntry {
        epoch: Epoch::from_random(0x0123_4567_89ab_cdef),
        lane: Lane::Telemetry,
        upto: 1000,
        ranges: [SeqRange::new(1010, 1020).unwrap()].into_iter().collect(),
        tail_from: Some(4000),
    };
    Ack {
        central_id: 7,
        run: 8,
        n: 9,
        nonce: Some(10),
        entries: [entry].into_iter().collect(),
    }
}

fn encoded(message: &impl Message) -> Vec<u8> {
    let mut out = vec![0; MESSAGE_LEN_MAX];
    message.encode(&mut out).unwrap().to_vec()
}

#[test]
fn a_message_comes_back_as_it_was() {
    let bytes = encoded(&sample_ack());
    assert_eq!(Ack::decode(&bytes), Ok(sample_ack()));
    assert_eq!(
        Nack::decode(&bytes),
        Err(MessageError::Kind(MessageKind::Ack as u8))
    );
}

#[test]
fn every_single_bit_flip_is_detected() {
    let bytes = encoded(&sample_ack());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Ack::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn an_old_reader_takes_what_it_knows_of_a_later_body() {
    let mut bytes = encoded(&sample_ack());
    bytes.truncate(bytes.len() - 4);
    bytes.extend_from_slice(&[1, 2, 3, 4, 5]);
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(Ack::decode(&bytes), Ok(sample_ack()));
}

#[test]
fn the_largest_messages_fit() {
    let mut text = heapless::String::<32>::new();
    while text.push('x').is_ok() {}
    let range = SeqRange::new(u64::MAX - 2, u64::MAX - 1).unwrap();
    let sensor = |index| crate::catalogue::SensorEntry {
        index,
        name: text.clone(),
        kind: crate::reading::Kind::Health,
        unit: crate::units::Unit(255),
        role: text.clone(),
        calibration: i32::MIN,
        period_ms: u32::MAX,
    };
    let detail = |index| crate::catalogue::SensorDetail {
        index,
        compartment: text.clone(),
        calibration_until_day: Some(i32::MIN),
    };
    let details = crate::catalogue::Details((0..64).map(detail).collect());
    let catalogue = crate::catalogue::Catalogue::described((0..64).map(sensor), &details).unwrap();
    let epoch = Epoch::from_random(u64::MAX);
    let lane = |lane| OpenLane {
        lane,
        next_seq: Some(u64::MAX),
        held: core::iter::repeat_n(range, HELD_RANGES_MAX).collect(),
    };
    let boot_id = crate::time::BootId([255; 16]);
    let open = OpenEpoch {
        epoch,
        boot_id,
        lanes: Lane::ALL.into_iter().map(lane).collect(),
    };
    let birth = Birth {
        device: "x".repeat(32).parse().unwrap(),
        nonce: u64::MAX,
        spool_id: u64::MAX,
        incarnation: u32::MAX,
        epoch,
        boot_id,
        boottime_ms: u64::MAX,
        software: text,
        catalogue,
        epochs: core::iter::repeat_n(open, EPOCHS_MAX).collect(),
        details,
    };
    assert_eq!(Birth::decode(&encoded(&birth)).unwrap(), birth);

    let entry = AckEntry {
        epoch,
        lane: Lane::Health,
        upto: u64::MAX,
        ranges: core::iter::repeat_n(range, ACK_RANGES_MAX).collect(),
        tail_from: Some(u64::MAX),
    };
    let ack = Ack {
        central_id: u64::MAX,
        run: u64::MAX,
        n: u64::MAX,
        nonce: Some(u64::MAX),
        entries: core::iter::repeat_n(entry, ACK_ENTRIES_MAX).collect(),
    };
    assert_eq!(Ack::decode(&encoded(&ack)).unwrap(), ack);

    let loss = Loss {
        epoch,
        lane: Lane::Health,
        first_seq: u64::MAX,
        last_seq: Some(u64::MAX),
        at_most: Some(u64::MAX),
        reason: LossReason::ReleasedBeforeRestore,
    };
    let losses = Losses {
        losses: core::iter::repeat_n(loss, LOSSES_MAX).collect(),
    };
    assert_eq!(Losses::decode(&encoded(&losses)).unwrap(), losses);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut body in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..12) {
        prop_assert!(open(&body).is_err());
        // The same bytes behind a matching checksum, so that the body is reached.
        body.splice(0..0, [MAGIC, kind]);
        let crc = crc32c(&body);
        body.extend_from_slice(&crc.to_le_bytes());
        let taken = [
            Birth::decode(&body).is_ok(),
            Status::decode(&body).is_ok(),
            Goodbye::decode(&body).is_ok(),
            Will::decode(&body).is_ok(),
            Ack::decode(&body).is_ok(),
            Nack::decode(&body).is_ok(),
            Losses::decode(&body).is_ok(),
            Anchors::decode(&body).is_ok(),
        ];
        prop_assert!(taken.iter().filter(|ok| **ok).count() <= 1);
    }

    #[test]
    fn a_nack_comes_back(first_seq in 0u64..1 << 40, count in 1u64..300, readable in any::<bool>()) {
        let stream = StreamId { epoch: Epoch::from_random(5), lane: Lane::Health };
        let range = SeqRange::from_count(first_seq, count).unwrap();
        let nack = Nack {
            central_id: 1,
            frame: readable.then_some((stream, range)),
            reason: NackReason::Undecodable,
        };
        prop_assert_eq!(Nack::decode(&encoded(&nack)), Ok(nack));
    }
}
