//! chrony's own answer to "how well is the clock kept": its command protocol, version 6, over UDP.
//!
//! ```text
//! request   offset 0  version 6, type 1, 0, 0, command u16 = 33 (tracking), attempt u16, sequence u32, zeros
//!                     as long as the reply: 104 bytes
//! reply          0  version 6, type 2, 0, 0, command u16 = 33, reply u16 = 5, status u16 = 0, ...
//!               16  sequence u32
//!               28  reference id u32, address 20 bytes, stratum u16, leap status u16, reference time 12 bytes
//!               68  correction, last offset, rms offset, frequency, residual, skew, root delay, dispersion, ...
//! ```
//! All big-endian; a number is a float of 7 bits of exponent and 25 bits of coefficient.
//!
//! Promises: the bound is |correction| + root dispersion + root delay / 2, which is chrony's own; a clock that
//! follows nobody but itself is not kept. Never: a command that changes anything, a wait above a second.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const REPLY_LEN: usize = 104;
const VERSION: u8 = 6;
const TYPE_REQUEST: u8 = 1;
const TYPE_REPLY: u8 = 2;
const COMMAND_TRACKING: u16 = 33;
const REPLY_TRACKING: u16 = 5;
const SEQUENCE: u32 = 0x666c_6565;
const LEAP_UNSYNCHRONISED: u16 = 3;
/// 127.127.1.1: the clock follows itself.
const REFERENCE_LOCAL: u32 = 0x7f7f_0101;
const PATIENCE: Duration = Duration::from_secs(1);

/// How wrong the wall clock may be, ms; `None` when nobody answers or nobody vouches.
pub(super) fn error_ms(server: SocketAddr) -> Option<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.connect(server).ok()?;
    socket.send(&request()).ok()?;
    let mut reply = [0; 2 * REPLY_LEN];
    let len = socket.recv(&mut reply).ok()?;
    parse(reply.get(..len)?)
}

fn request() -> [u8; REPLY_LEN] {
    let mut bytes = [0; REPLY_LEN];
    let [version, kind, _, _, command @ ..] = &mut bytes;
    (*version, *kind) = (VERSION, TYPE_REQUEST);
    if let Some(field) = command.first_chunk_mut() {
        *field = COMMAND_TRACKING.to_be_bytes();
    }
    if let Some(field) = bytes.get_mut(8..12) {
        field.copy_from_slice(&SEQUENCE.to_be_bytes());
    }
    bytes
}

fn parse(reply: &[u8]) -> Option<u64> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(*reply.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_be_bytes(*reply.get(at..)?.first_chunk()?));
    let is_ours = reply.len() >= REPLY_LEN
        && reply.starts_with(&[VERSION, TYPE_REPLY])
        && u16_at(4)? == COMMAND_TRACKING
        && u16_at(6)? == REPLY_TRACKING
        && u16_at(8)? == 0
        && u32_at(16)? == SEQUENCE;
    let reference = u32_at(28)?;
    let is_kept =
        u16_at(54)? != LEAP_UNSYNCHRONISED && reference != 0 && reference != REFERENCE_LOCAL;
    if !is_ours || !is_kept {
        return None;
    }
    let [correction, delay, dispersion] = [68, 92, 96].map(|at| u32_at(at).map(number));
    let error_s = correction?.abs() + dispersion?.abs() + delay?.abs() / 2.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let error_ms = (error_s * 1000.0).ceil().clamp(1.0, 4e9) as u64;
    Some(error_ms)
}

/// The coefficient is a fraction of 2^25, shifted by the exponent; both are signed.
fn number(bits: u32) -> f64 {
    let exponent = bits.cast_signed() >> 25;
    let coefficient = (bits << 7).cast_signed() >> 7;
    f64::from(coefficient) * 2f64.powi(exponent - 25)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer of chronyd 4.3 that follows its own clock, as it came over the wire, with our sequence.
    const LOCAL: &str = "060200000021000500000000000000006\
        66c656500000000000000007f7f0101000000000000000000000000000000000000000000080000000000006b0489ef\
        22895994000000000000000000000000000000000000000000000000000000000000000000000000";

    /// One that follows a server beside it; chronyc said: 1.362 us fast, delay 5.519 us, dispersion 1.1 us.
    const SERVED: &str = "06020000002100050000000000000000666c656500000000000000007f0000017f00000100000000\
        00000000000000000001000000040000000000006b04967b22a58ff6dd492965d351337ce0bd020e\
        f566b00af138a7b7fec843b9e0b92fd9dc92794204814100";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    pub(in super::super) fn local() -> Vec<u8> {
        bytes(LOCAL)
    }

    #[test]
    fn what_chronyd_says_is_what_chronyc_shows() {
        let reply = bytes(SERVED);
        let at = |at: usize| number(u32::from_be_bytes(*reply[at..].first_chunk().unwrap()));
        let micros = |at_byte: usize| (at(at_byte) * 1e9).round() / 1e3;
        assert_eq!([micros(68), micros(92), micros(96)], [-1.362, 5.519, 1.091]);
        assert_eq!(parse(&reply), Some(1));
    }

    /// The same, following 192.0.2.1, with these three numbers.
    pub(in super::super) fn following(correction: u32, delay: u32, dispersion: u32) -> Vec<u8> {
        let mut reply = local();
        for (at, field) in [
            (28, 0xc000_0201),
            (68, correction),
            (92, delay),
            (96, dispersion),
        ] {
            reply[at..at + 4].copy_from_slice(&u32::to_be_bytes(field));
        }
        reply
    }

    #[test]
    fn numbers_are_exponent_and_coefficient_with_signs() {
        // 1.0 is 2^23 * 2^(2 - 25).
        let bits = |exponent: i32, coefficient: i32| {
            (exponent.cast_unsigned() << 25) | (coefficient.cast_unsigned() & 0x01ff_ffff)
        };
        let table = [
            (bits(0, 0), 0.0),
            (bits(2, 1 << 23), 1.0),
            (bits(2, -(1 << 23)), -1.0),
            (bits(-8, 1 << 23), 1.0 / 1024.0),
            (bits(12, 1 << 23), 1024.0),
        ];
        for (bits, value) in table {
            assert_eq!(number(bits), value, "{bits:08x}");
        }
    }

    #[test]
    fn the_bound_is_correction_and_dispersion_and_half_the_delay() {
        // -1/1024 s, 1/1024 s, 1/512 s
        let (minus, plus, twice) = (
            ((-8_i32).cast_unsigned() << 25) | 0x0180_0000,
            ((-8_i32).cast_unsigned() << 25) | 0x0080_0000,
            ((-7_i32).cast_unsigned() << 25) | 0x0080_0000,
        );
        // 0.98 + 1.95 + 0.49 ms
        assert_eq!(parse(&following(minus, plus, twice)), Some(4));
    }

    #[test]
    fn a_clock_that_follows_itself_or_nobody_is_not_kept() {
        assert_eq!(parse(&local()), None);
        assert_eq!(parse(&following(0, 0, 0)), Some(1));
        let mut unsynchronised = following(0, 0, 0);
        unsynchronised[55] = 3;
        assert_eq!(parse(&unsynchronised), None);
    }

    #[test]
    fn anything_but_the_whole_answer_to_the_question_is_none() {
        let reply = following(0, 0, 0);
        for len in 0..REPLY_LEN {
            assert_eq!(parse(&reply[..len]), None, "{len}");
        }
        for at in [0, 1, 5, 7, 9, 19] {
            let mut other = reply.clone();
            other[at] ^= 0x40;
            assert_eq!(parse(&other), None, "{at}");
        }
    }
}
