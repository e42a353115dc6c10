//! Serial frames between a microcontroller and the gateway: `COBS( version | kind | body | CRC-32 ) 0x00`.
//!
//! ```text
//! offset  bytes  what
//! 0       1      version, 1
//! 1       1      kind: what the body is; an unknown kind is counted and skipped by the reader
//! 2       n      body
//! 2 + n   4      CRC-32 (ISO-HDLC) of everything before, little-endian
//! ```
//! Promises: a reader finds the next frame after any damage at the next zero byte; every single-bit flip
//! is detected. Never: a body longer than [`BODY_LEN_MAX`], a heap, a panic on arbitrary bytes.

use crate::checksum::crc32;

/// The version of this frame.
pub const VERSION: u8 = 1;
/// The longest body, bytes.
pub const BODY_LEN_MAX: usize = 512;
/// The longest plain frame, bytes.
const PLAIN_LEN_MAX: usize = BODY_LEN_MAX + 6;
/// The longest frame on the line with its delimiter, bytes.
pub const FRAME_LEN_MAX: usize = PLAIN_LEN_MAX + PLAIN_LEN_MAX / 254 + 2;

/// Why bytes between two delimiters are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The body or the frame is longer than allowed; how long it is.
    Long(usize),
    /// Shorter than a frame can be; how long it is.
    Short(usize),
    /// Not COBS.
    Cobs,
    /// The checksum does not match.
    Crc {
        /// In the frame.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Written by another version.
    Version(u8),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Long(len) => write!(
                f,
                "a serial frame of {len} bytes; the body may have {BODY_LEN_MAX}"
            ),
            Self::Short(len) => write!(f, "a serial frame of {len} bytes; the shortest has 6"),
            Self::Cobs => f.write_str("a serial frame that is not COBS"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "a serial frame with CRC {stored:08x}; its bytes give {computed:08x}"
                )
            }
            Self::Version(found) => {
                write!(f, "a serial frame of version {found}; allowed is {VERSION}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Writes one frame with its delimiter and tells its length.
///
/// # Errors
/// [`FrameError::Long`] when the body is too long or `out` is shorter than [`FRAME_LEN_MAX`].
pub fn encode(kind: u8, body: &[u8], out: &mut [u8]) -> Result<usize, FrameError> {
    let mut plain = heapless::Vec::<u8, PLAIN_LEN_MAX>::new();
    let long = || FrameError::Long(body.len());
    if out.len() < FRAME_LEN_MAX {
        return Err(long());
    }
    plain
        .extend_from_slice(&[VERSION, kind])
        .map_err(|_| long())?;
    plain.extend_from_slice(body).map_err(|_| long())?;
    let crc = crc32(&plain);
    plain
        .extend_from_slice(&crc.to_le_bytes())
        .map_err(|_| long())?;
    let len = cobs::encode(&plain, out);
    let delimiter = out.get_mut(len).ok_or(long())?;
    *delimiter = 0;
    Ok(len + 1)
}

/// Collects bytes of a line into frames.
#[derive(Debug, Clone, Default)]
pub struct FrameReader {
    buffer: heapless::Vec<u8, FRAME_LEN_MAX>,
    dropped: usize,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is.
    pub kind: u8,
    /// The body.
    pub body: &'a [u8],
}

impl FrameReader {
    /// Takes one byte; gives a frame or an error at each delimiter that ends something.
    pub fn push(&mut self, byte: u8, sink: &mut dyn FnMut(Result<Frame<'_>, FrameError>)) {
        if byte != 0 {
            if self.buffer.push(byte).is_err() {
                self.dropped += 1;
            }
            return;
        }
        if self.dropped > 0 {
            sink(Err(FrameError::Long(self.buffer.len() + self.dropped)));
        } else if !self.buffer.is_empty() {
            sink(decode(&mut self.buffer));
        }
        self.buffer.clear();
        self.dropped = 0;
    }
}

fn decode(bytes: &mut [u8]) -> Result<Frame<'_>, FrameError> {
    let len = cobs::decode_in_place(bytes).map_err(|_| FrameError::Cobs)?;
    let plain = bytes.get(..len).ok_or(FrameError::Cobs)?;
    let (content, stored) = plain
        .split_last_chunk::<4>()
        .ok_or(FrameError::Short(len))?;
    let [version, kind, body @ ..] = content else {
        return Err(FrameError::Short(len));
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32(content));
    if stored != computed {
        return Err(FrameError::Crc { stored, computed });
    }
    if *version != VERSION {
        return Err(FrameError::Version(*version));
    }
    Ok(Frame { kind: *kind, body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(line: &[u8]) -> Vec<Result<(u8, Vec<u8>), FrameError>> {
        let mut reader = FrameReader::default();
        let mut found = Vec::new();
        for byte in line {
            reader.push(*byte, &mut |frame| {
                found.push(frame.map(|f| (f.kind, f.body.to_vec())))
            });
        }
        found
    }

    fn encoded(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = [0; FRAME_LEN_MAX];
        let len = encode(kind, body, &mut out).unwrap();
        out[..len].to_vec()
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_and_damage_costs_only_what_it_hit(
            body in prop::collection::vec(any::<u8>(), 0..=BODY_LEN_MAX),
            noise in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let mut line = noise;
            line.push(0);
            line.extend(encoded(7, &body));
            let found = frames(&line);
            prop_assert_eq!(found.last(), Some(&Ok((7, body))));
        }

        #[test]
        fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..2000)) {
            for frame in frames(&line) {
                prop_assert!(frame.is_err() || frame.is_ok_and(|(_, body)| body.len() <= BODY_LEN_MAX));
            }
        }
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let body: Vec<u8> = (0..36).map(|n| n * 7).collect();
        let line = encoded(3, &body);
        for bit in 0..line.len() * 8 {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped.push(0);
            assert!(
                !frames(&flipped).contains(&Ok((3, body.clone()))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_body_too_long_is_refused_and_a_line_without_delimiter_is_bounded() {
        let mut out = [0; FRAME_LEN_MAX];
        assert_eq!(
            encode(1, &[1; BODY_LEN_MAX + 1], &mut out),
            Err(FrameError::Long(BODY_LEN_MAX + 1))
        );
        let mut line = vec![1; 5000];
        line.push(0);
        assert_eq!(frames(&line), vec![Err(FrameError::Long(5000))]);
    }
}
