use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use proptest::prelude::*;

use super::world::note;
use crate::spool::format::{
    self, FrameHeader, FrameKind, Seed, SegmentHeader, Summary, payload_sum, push_entry,
};
use crate::spool::lane::Span;

fn segment() -> SegmentHeader {
    SegmentHeader {
        version: format::VERSION,
        spool_id: 0x0102_0304_0506_0708,
        generation: 9,
        len: 4 * 1024 * 1024,
        file: 3,
        align: 4096,
        lane: Lane::Telemetry,
        link: 0xAABB_CCDD,
        epoch: Epoch::from_random(5),
        note: note(1),
    }
}

fn frame(payload: &[u8]) -> FrameHeader {
    FrameHeader {
        stream: StreamId {
            epoch: Epoch::from_random(5),
            lane: Lane::Telemetry,
        },
        kind: FrameKind::Commit,
        entries: 2,
        payload_len: payload.len() as u32,
        link: 7,
        range: SeqRange::new(10, 16).unwrap(),
        generation: 9,
        payload_sum: payload_sum(payload),
        offset: 8192,
        crc: 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// If this fails do not change the test: spools on vehicles are written like this. Make another version.
#[test]
fn version_2_is_written_as_it_always_was() {
    let header = segment().encode();
    assert_eq!(hex(&header), GOLDEN_SEGMENT);
    assert_eq!(SegmentHeader::decode(&header), Some(segment()));
    let mut payload = Vec::new();
    push_entry(&mut payload, 10, SeqRange::new(10, 12).unwrap(), b"one");
    push_entry(&mut payload, 13, SeqRange::new(15, 16).unwrap(), b"two!");
    let (bytes, _) = frame(&payload).encode(segment().seed());
    assert_eq!(hex(&bytes) + &hex(&payload), GOLDEN_FRAME);
    let read = FrameHeader::decode(&bytes, segment().seed(), 8192).unwrap();
    let entries = format::entries(&read, &payload);
    let ranges: Vec<SeqRange> = entries.iter().map(|entry| entry.range).collect();
    assert_eq!(
        ranges,
        [
            SeqRange::new(10, 12).unwrap(),
            SeqRange::new(15, 16).unwrap()
        ]
    );
    let summary = Summary {
        frames: 1,
        end: 12_288,
        first_link: 7,
        last_crc: 8,
        spans: vec![Span {
            epoch: Epoch::from_random(5),
            range: SeqRange::new(10, 16).unwrap(),
        }],
    };
    let bytes = summary.encode(segment().seed(), 4096).unwrap();
    assert_eq!(hex(&bytes), GOLDEN_SUMMARY);
    assert_eq!(Summary::decode(&bytes, &segment()), Some(summary));
}

const GOLDEN_SEGMENT: &str = "464753470200000000000000f9665a1d0807060504030201090000000000000000004000030000000010000001000000ddccbbaa000000000500000000000000010101010101010101010101010101010a0000000000000014000000000000001e000000000000000000000000000000000000000000000000000000a63eed97";
const GOLDEN_FRAME: &str = "46474632010002000d0000000700000005000000000000000a0000000000000010000000000000000900000000000000ad6176f900200000000000006a15000c0003036f6e6502020474776f21";
const GOLDEN_SUMMARY: &str = "4647534d0100000001000000000000000030000000000000070000000800000005000000000000000a00000000000000100000000000000071a29d3d";

#[test]
fn a_frame_of_another_use_of_the_file_or_of_another_place_never_validates() {
    let payload = [1, 2, 3];
    let (bytes, _) = frame(&payload).encode(segment().seed());
    let decode = |seed, offset| FrameHeader::decode(&bytes, seed, offset);
    assert!(decode(segment().seed(), 8192).is_some());
    assert_eq!(decode(segment().seed(), 12_288), None);
    let id = segment().spool_id;
    for seed in [
        Seed::new(id, 8, 3),
        Seed::new(id, 9, 4),
        Seed::new(id + 1, 9, 3),
    ] {
        assert_eq!(decode(seed, 8192), None);
    }
}

#[test]
fn an_intact_batch_in_place_of_another_is_noticed() {
    // Both end in their own CRC-32C, as sealed batches do: a CRC-32C over them would be the same.
    let sealed = |byte: u8| {
        let mut batch = vec![byte; 60];
        let crc = firmware_shared::checksum::crc32c(&batch);
        batch.extend_from_slice(&crc.to_le_bytes());
        batch
    };
    let (one, other) = (sealed(1), sealed(2));
    assert!(frame(&one).fits(&one));
    assert!(!frame(&one).fits(&other));
}

proptest! {
    #[test]
    fn a_flipped_bit_anywhere_is_noticed(payload in prop::collection::vec(any::<u8>(), 1..200), bit in any::<usize>()) {
        let header = frame(&payload);
        let (mut bytes, _) = header.encode(segment().seed());
        bytes.extend_from_slice(&payload);
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = FrameHeader::decode(&bytes, segment().seed(), 8192);
        prop_assert!(read.is_none_or(|read| !read.fits(&bytes[64..])));
    }

    #[test]
    fn arbitrary_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let seed = segment().seed();
        let _ = SegmentHeader::decode(&bytes);
        let _ = Summary::decode(&bytes, &segment());
        let _ = FrameHeader::decode(&bytes, seed, 0);
        let found = format::entries(&frame(&bytes), &bytes);
        for entry in found {
            prop_assert!(bytes.get(entry.start as usize..(entry.start + entry.len) as usize).is_some());
        }
    }
}
