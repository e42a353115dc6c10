extern crate std;
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Nmea(Vec<u8>),
    Ubx(u8, u8, Vec<u8>),
}

fn owned(frame: Frame<'_>) -> Owned {
    match frame {
        Frame::Nmea { body } => Owned::Nmea(body.to_vec()),
        Frame::Ubx { class, id, payload } => Owned::Ubx(class, id, payload.to_vec()),
    }
}

fn split(pieces: &[&[u8]]) -> (Vec<Owned>, StreamCounts) {
    let mut splitter = StreamSplitter::new();
    let mut frames = Vec::new();
    for piece in pieces {
        splitter.push(piece, &mut |frame| frames.push(owned(frame)));
    }
    (frames, splitter.counts())
}

fn nmea(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
    let mut sentence = std::vec![b'$'];
    sentence.extend(body);
    sentence.extend(std::format!("*{sum:02X}\r\n").bytes());
    sentence
}

fn ubx(class: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![0xb5, 0x62, class, id];
    frame.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    frame.extend(payload);
    let sums = crate::ubx::checksum(&frame[2..]);
    frame.extend(sums);
    frame
}

#[test]
fn mixed_frames_are_found_between_filler_and_unknown_binary() {
    let mut stream = std::vec![0xff; 40];
    stream.extend(nmea(b"GPRMC,,V"));
    stream.extend([0xff, 0xba, 0xce, 0x00, 0x07]);
    stream.extend(ubx(1, 7, &[0xff; 92]));
    stream.extend(nmea(b"GPGGA,,"));
    let (frames, counts) = split(&[&stream]);
    let expected = [
        Owned::Nmea(b"GPRMC,,V".to_vec()),
        Owned::Ubx(1, 7, std::vec![0xff; 92]),
        Owned::Nmea(b"GPGGA,,".to_vec()),
    ];
    assert_eq!(frames, expected);
    assert_eq!((counts.filler_bytes, counts.junk_bytes), (41, 4));
    assert_eq!((counts.nmea, counts.ubx, counts.bad_checksums), (2, 1, 0));
}

#[test]
fn a_frame_cut_at_every_place_is_found_once() {
    let mut stream = ubx(5, 1, &[6, 0x8a]);
    stream.extend(nmea(b"GNRMC,110124,A"));
    stream.extend(ubx(1, 7, b"$GP*00\xb5\x62"));
    let (whole, _) = split(&[&stream]);
    assert_eq!(whole.len(), 3);
    for cut in 0..stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(split(&[first, second]).0, whole, "cut at {cut}");
    }
}

#[test]
fn a_sentence_inside_a_valid_binary_frame_is_payload() {
    let stream = ubx(4, 2, &nmea(b"GPRMC,,V"));
    let (frames, _) = split(&[&stream]);
    assert_eq!(frames, [Owned::Ubx(4, 2, nmea(b"GPRMC,,V"))]);
}

#[test]
fn a_damaged_frame_does_not_hide_the_one_inside_or_behind_it() {
    let mut stream = ubx(4, 2, &nmea(b"GPRMC,,V"));
    let last = stream.len() - 1;
    stream[last] ^= 1;
    stream.extend(nmea(b"GPGGA,,"));
    let (frames, counts) = split(&[&stream]);
    assert_eq!(
        frames,
        [
            Owned::Nmea(b"GPRMC,,V".to_vec()),
            Owned::Nmea(b"GPGGA,,".to_vec())
        ]
    );
    assert_eq!(counts.bad_checksums, 1);
}

#[test]
fn a_new_dollar_restarts_a_sentence_that_lost_its_end() {
    let mut stream = b"$GPGGA,1101".to_vec();
    stream.extend(nmea(b"GPRMC,,V"));
    assert_eq!(split(&[&stream]).0, [Owned::Nmea(b"GPRMC,,V".to_vec())]);
}

#[test]
fn a_false_start_with_a_long_length_only_delays_what_is_behind_it() {
    let mut stream = std::vec![0xb5, 0x62, 1, 7, 0xf0, 0x0b];
    stream.extend(nmea(b"GPRMC,,V"));
    let mut splitter = StreamSplitter::new();
    let mut frames = Vec::new();
    splitter.push(&stream, &mut |frame| frames.push(owned(frame)));
    assert!(frames.is_empty() && splitter.unfinished_len() == stream.len());
    splitter.give_up_unfinished(&mut |frame| frames.push(owned(frame)));
    assert_eq!(frames, [Owned::Nmea(b"GPRMC,,V".to_vec())]);
    assert!(splitter.unfinished_len() <= 2);
}

#[test]
fn where_no_ubx_is_spoken_a_false_start_delays_nothing() {
    let mut stream = std::vec![0xb5, 0x62, 1, 7, 0xf0, 0x0b];
    stream.extend(nmea(b"GPRMC,,V"));
    stream.extend(ubx(1, 7, &[1; 92]));
    stream.extend(nmea(b"GPGGA,,"));
    let mut splitter = StreamSplitter::nmea_only();
    let mut frames = Vec::new();
    splitter.push(&stream, &mut |frame| frames.push(owned(frame)));
    let expected = [b"GPRMC,,V".to_vec(), b"GPGGA,,".to_vec()].map(Owned::Nmea);
    assert_eq!(frames, expected);
    assert_eq!((splitter.unfinished_len(), splitter.counts().ubx), (0, 0));
}

#[test]
fn a_length_above_the_bound_is_no_frame() {
    let mut stream = std::vec![0xb5, 0x62, 1, 7, 0xf9, 0x0b];
    stream.extend(nmea(b"GPRMC,,V"));
    assert_eq!(split(&[&stream]).0, [Owned::Nmea(b"GPRMC,,V".to_vec())]);
    let longest = std::vec![0x24; FRAME_LEN_MAX - 8];
    let frames = split(&[&[0xff, b'$', 7], &ubx(1, 7, &longest)]).0;
    assert_eq!(frames, [Owned::Ubx(1, 7, longest)]);
}

#[test]
fn the_splitter_stays_below_4_kib() {
    assert!(size_of::<StreamSplitter>() <= 3200);
}

/// Reads left to right over the whole input, as the module promises.
fn reference(stream: &[u8]) -> Vec<Owned> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        let rest = &stream[at..];
        let (frame, len) =
            reference_frame(rest).map_or((None, 1), |(frame, len)| (Some(frame), len));
        frames.extend(frame);
        at += len;
    }
    frames
}

fn reference_frame(rest: &[u8]) -> Option<(Owned, usize)> {
    if rest[0] == b'$' {
        let star = rest.iter().position(|byte| *byte == b'*')?;
        let body = &rest[1..star];
        let plain = body
            .iter()
            .all(|byte| (0x20..0x7f).contains(byte) && *byte != b'$');
        let digits = std::str::from_utf8(rest.get(star + 1..star + 3)?).ok()?;
        let sum = u8::from_str_radix(digits, 16)
            .ok()
            .filter(|_| !digits.contains('+'))?;
        let right = body.iter().fold(0, |sum, byte| sum ^ byte) == sum;
        return (plain && right && body.len() <= 250)
            .then(|| (Owned::Nmea(body.to_vec()), star + 3));
    }
    if rest.len() < 8 || rest[..2] != [0xb5, 0x62] {
        return None;
    }
    let len = usize::from(rest[4]) + 256 * usize::from(rest[5]);
    if len > 3064 || rest.len() < len + 8 {
        return None;
    }
    let (mut a, mut b) = (0u32, 0u32);
    for byte in &rest[2..6 + len] {
        a += u32::from(*byte);
        b += a;
    }
    let right = [(a % 256) as u8, (b % 256) as u8] == rest[6 + len..8 + len];
    right.then(|| {
        (
            Owned::Ubx(rest[2], rest[3], rest[6..6 + len].to_vec()),
            len + 8,
        )
    })
}

fn scrap() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..20),
        2 => (1usize..60).prop_map(|len| std::vec![0xff; len]),
        2 => Just(b"$GPRMC,1".to_vec()),
        2 => Just(std::vec![0xb5, 0x62, 1, 7, 40, 0]),
        4 => "[A-Z,0-9.]{0,60}".prop_map(|body| nmea(body.as_bytes())),
        4 => (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..120))
            .prop_map(|(class, id, payload)| ubx(class, id, &payload)),
    ]
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_frames_equal_a_left_to_right_reading(
        scraps in proptest::collection::vec(scrap(), 0..30),
        cuts in proptest::collection::vec(1usize..200, 1..40),
    ) {
        let stream = scraps.concat();
        let mut splitter = StreamSplitter::new();
        let mut frames = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            splitter.push(piece, &mut |frame| frames.push(owned(frame)));
            rest = tail;
        }
        // What an unfinished candidate still hides, the reference sees at once.
        while splitter.unfinished_len() > 0 {
            splitter.give_up_unfinished(&mut |frame| frames.push(owned(frame)));
        }
        prop_assert_eq!(frames, reference(&stream));
    }
}

#[test]
fn only_the_right_checksum_of_256_makes_a_sentence() {
    let mut found = 0;
    for sum in 0..=255u8 {
        let (frames, counts) = split(&[std::format!("$GPRMC,,V*{sum:02x}\r\n").as_bytes()]);
        assert_eq!(
            counts.bad_checksums,
            1 - u32::try_from(frames.len()).unwrap()
        );
        found += frames.len();
    }
    assert_eq!(found, 1);
    assert!(split(&[b"$GPRMC,,V*5G\r\n"]).0.is_empty());
}
