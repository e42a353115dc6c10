//! Finds frames in a receiver's byte stream.
//!
//! Promises: read left to right, every NMEA sentence and every UBX frame whose checksum holds is
//! handed out exactly once, however the stream is cut into pieces; what lies between is skipped
//! and counted. State is bounded by [`FRAME_LEN_MAX`]. Never: a frame that is not in the stream
//! byte for byte, or a byte of a valid frame used for another one.
//!
//! ```text
//! NMEA  '$' body '*' H H            body: printable, no '$' or '*', at most 250 bytes
//! UBX   B5 62 class id len:2 payload ck_a ck_b      frame at most 3072 bytes
//! ```
//! Between frames 0xFF is the filler of an empty I2C buffer; inside a frame it may be payload, so
//! there the checksum decides. When a start marker turns out to be none, the search goes on at
//! the byte after it.

/// The longest frame that is recognised. The receiver's own buffer holds 4096 bytes, and what
/// this crate decodes is at most 100 bytes long; the bound keeps the whole state below 4 KiB.
pub const FRAME_LEN_MAX: usize = 3072;

/// The longest text between `$` and `*`.
pub const NMEA_BODY_LEN_MAX: usize = 250;

const UBX_SYNC: [u8; 2] = [0xb5, 0x62];
const UBX_OVERHEAD: usize = 8;

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The text between `$` and `*`.
    Nmea {
        /// Printable ASCII.
        body: &'a [u8],
    },
    /// A UBX message.
    Ubx {
        /// Message class.
        class: u8,
        /// Message identifier.
        id: u8,
        /// Payload.
        payload: &'a [u8],
    },
}

/// What went through; all counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// NMEA sentences handed out.
    pub nmea: u32,
    /// UBX frames handed out.
    pub ubx: u32,
    /// 0xFF bytes between frames.
    pub filler_bytes: u32,
    /// Other bytes that belong to no frame (line ends are not counted).
    pub junk_bytes: u32,
    /// Complete candidates whose checksum was wrong.
    pub bad_checksums: u32,
}

/// The splitter. Holds at most one unfinished frame.
#[derive(Debug, Clone)]
pub struct StreamSplitter {
    buffer: [u8; FRAME_LEN_MAX],
    len: usize,
    knows_ubx: bool,
    counts: StreamCounts,
}

impl Default for StreamSplitter {
    fn default() -> Self {
        Self::new()
    }
}

/// What the bytes at hand are.
enum Candidate {
    /// A valid NMEA sentence of so many bytes.
    Nmea(usize),
    /// A valid UBX frame of so many bytes.
    Ubx(usize),
    /// Could still become one.
    Unfinished,
    /// Complete, but damaged.
    BadChecksum,
    /// Not a frame.
    Neither,
}

impl StreamSplitter {
    /// An empty splitter.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: [0; FRAME_LEN_MAX],
            len: 0,
            knows_ubx: true,
            counts: StreamCounts::default(),
        }
    }

    /// The same for a receiver that never speaks UBX: binary that looks like the beginning of a
    /// frame is skipped at once and holds no sentence back.
    #[must_use]
    pub fn nmea_only() -> Self {
        Self {
            knows_ubx: false,
            ..Self::new()
        }
    }

    /// Takes the next bytes of the stream and hands out each frame that they complete.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut (impl FnMut(Frame<'_>) + ?Sized)) {
        while !bytes.is_empty() {
            if self.len == 0 {
                // Frames that are whole are handed out from where they are.
                let done = scan(bytes, self.knows_ubx, &mut self.counts, sink);
                self.keep(bytes.get(done..).unwrap_or_default());
                return;
            }
            let before = self.len;
            let (taken, rest) = bytes.split_at(bytes.len().min(FRAME_LEN_MAX - before));
            self.keep(taken);
            let done = self.scan(0, sink);
            match done.checked_sub(before) {
                // All that was held back is done with; the rest needs no buffer.
                Some(of_these) => {
                    self.len = 0;
                    bytes = bytes.get(of_these..).unwrap_or_default();
                }
                None => {
                    self.drop_first(done);
                    bytes = rest;
                }
            }
        }
    }

    /// Gives up the unfinished frame, if there is one, and searches inside it. For a stream that
    /// has gone quiet: what was taken for a start marker may have been noise, and frames may be
    /// waiting behind it.
    pub fn give_up_unfinished(&mut self, sink: &mut (impl FnMut(Frame<'_>) + ?Sized)) {
        if self.len > 0 {
            self.counts.junk_bytes = self.counts.junk_bytes.saturating_add(1);
            let done = self.scan(1, sink);
            self.drop_first(done);
        }
    }

    /// Forgets the unfinished frame: the stream was interrupted.
    pub fn discard_unfinished(&mut self) {
        self.len = 0;
    }

    /// Bytes of the unfinished frame.
    #[must_use]
    pub fn unfinished_len(&self) -> usize {
        self.len
    }

    /// What went through so far.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.counts
    }

    /// Looks through what is held back, from `from` on; up to where it is done with.
    fn scan(&mut self, from: usize, sink: &mut (impl FnMut(Frame<'_>) + ?Sized)) -> usize {
        let held = self.buffer.get(from..self.len).unwrap_or_default();
        from + scan(held, self.knows_ubx, &mut self.counts, sink)
    }

    /// Holds bytes back; what does not fit is no part of an unfinished frame.
    fn keep(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..FRAME_LEN_MAX - self.len).unwrap_or(bytes);
        if let Some(free) = self.buffer.get_mut(self.len..self.len + bytes.len()) {
            free.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn drop_first(&mut self, count: usize) {
        let count = count.min(self.len);
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

/// Hands out what is whole in `bytes`; up to where it is done with. An unfinished frame is behind
/// that, and never longer than [`FRAME_LEN_MAX`].
fn scan(
    bytes: &[u8],
    knows_ubx: bool,
    counts: &mut StreamCounts,
    sink: &mut (impl FnMut(Frame<'_>) + ?Sized),
) -> usize {
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        match classify(rest, knows_ubx) {
            Candidate::Nmea(frame_len) => {
                counts.nmea = counts.nmea.saturating_add(1);
                if let Some(body) = rest.get(1..frame_len - 3) {
                    sink(Frame::Nmea { body });
                }
                start += frame_len;
            }
            Candidate::Ubx(frame_len) => {
                counts.ubx = counts.ubx.saturating_add(1);
                if let [_, _, class, id, _, _, tail @ ..] = rest
                    && let Some(payload) = tail.get(..frame_len - UBX_OVERHEAD)
                {
                    sink(Frame::Ubx {
                        class: *class,
                        id: *id,
                        payload,
                    });
                }
                start += frame_len;
            }
            Candidate::Unfinished => break,
            other => {
                counts.skip(rest.first().copied(), &other);
                start += 1;
            }
        }
    }
    start
}

impl StreamCounts {
    fn skip(&mut self, byte: Option<u8>, why: &Candidate) {
        match byte {
            Some(0xff) => self.filler_bytes = self.filler_bytes.saturating_add(1),
            Some(b'\r' | b'\n') | None => {}
            Some(_) => self.junk_bytes = self.junk_bytes.saturating_add(1),
        }
        if matches!(why, Candidate::BadChecksum) {
            self.bad_checksums = self.bad_checksums.saturating_add(1);
        }
    }
}

fn classify(bytes: &[u8], knows_ubx: bool) -> Candidate {
    match bytes {
        [b'$', rest @ ..] => classify_nmea(rest),
        _ if !knows_ubx => Candidate::Neither,
        [first] if *first == UBX_SYNC[0] => Candidate::Unfinished,
        [first, second, rest @ ..] if [*first, *second] == UBX_SYNC => classify_ubx(rest),
        _ => Candidate::Neither,
    }
}

/// `rest` begins behind the `$`.
fn classify_nmea(rest: &[u8]) -> Candidate {
    let mut sum = 0;
    for (position, byte) in rest.iter().enumerate().take(NMEA_BODY_LEN_MAX + 1) {
        match byte {
            b'*' => return check_nmea(sum, position, rest.get(position + 1..)),
            b'$' => return Candidate::Neither,
            0x20..=0x7e => sum ^= byte,
            _ => return Candidate::Neither,
        }
    }
    if rest.len() > NMEA_BODY_LEN_MAX {
        Candidate::Neither
    } else {
        Candidate::Unfinished
    }
}

fn check_nmea(sum: u8, body_len: usize, digits: Option<&[u8]>) -> Candidate {
    match digits.unwrap_or_default() {
        [high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) if high << 4 | low == sum => Candidate::Nmea(body_len + 4),
            (Some(_), Some(_)) => Candidate::BadChecksum,
            _ => Candidate::Neither,
        },
        [only] if hex(*only).is_none() => Candidate::Neither,
        _ => Candidate::Unfinished,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// `rest` begins behind the two sync bytes.
fn classify_ubx(rest: &[u8]) -> Candidate {
    let [_, _, len_low, len_high, tail @ ..] = rest else {
        return Candidate::Unfinished;
    };
    let payload_len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
    if payload_len + UBX_OVERHEAD > FRAME_LEN_MAX {
        return Candidate::Neither;
    }
    let Some([sum_a, sum_b]) = tail.get(payload_len..payload_len + 2) else {
        return Candidate::Unfinished;
    };
    let summed = rest.get(..payload_len + 4).unwrap_or_default();
    if crate::ubx::checksum(summed) == [*sum_a, *sum_b] {
        Candidate::Ubx(payload_len + UBX_OVERHEAD)
    } else {
        Candidate::BadChecksum
    }
}

#[cfg(test)]
mod tests;
