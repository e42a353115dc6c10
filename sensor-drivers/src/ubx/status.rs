//! UBX messages about the receiver itself: leap seconds, antenna, jamming, spoofing.
//!
//! Promises: pure; a payload that is too short, or of a version that is not known, is `None`.
//! Never: a state read from a detector that is switched off.

use super::byte_at;

/// Identifier of NAV-STATUS in [`super::CLASS_NAV`].
pub const ID_NAV_STATUS: u8 = 0x03;
/// Identifier of NAV-TIMELS in [`super::CLASS_NAV`].
pub const ID_NAV_TIMELS: u8 = 0x26;
/// Class of MON-HW and MON-RF.
pub const CLASS_MON: u8 = 0x0a;
/// MON-HW, generation 8 and older.
pub const ID_MON_HW: u8 = 0x09;
/// MON-RF, generation 9 and younger.
pub const ID_MON_RF: u8 = 0x38;
/// Class of SEC-SIG.
pub const CLASS_SEC: u8 = 0x27;
/// SEC-SIG, generation 10 and younger.
pub const ID_SEC_SIG: u8 = 0x09;

/// CFG-MSGOUT-UBX_NAV_TIMELS_I2C.
pub const KEY_MSGOUT_NAV_TIMELS_I2C: u32 = 0x2091_0060;
/// CFG-MSGOUT-UBX_MON_RF_I2C.
pub const KEY_MSGOUT_MON_RF_I2C: u32 = 0x2091_0359;
/// CFG-MSGOUT-UBX_NAV_STATUS_I2C.
pub const KEY_MSGOUT_NAV_STATUS_I2C: u32 = 0x2091_001a;
/// CFG-MSGOUT-UBX_SEC_SIG_I2C.
pub const KEY_MSGOUT_SEC_SIG_I2C: u32 = 0x2091_0634;

/// The leap seconds between GPS time and UTC, when the receiver has them from the sky or from a
/// setting; its built-in number may be years old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NavTimeLs {
    /// GPS time minus UTC, if known.
    pub leap_s: Option<i8>,
}

impl NavTimeLs {
    /// Decodes a payload.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; 24] = payload.first_chunk()?;
        let (source, leap_s) = (byte_at(bytes, 8)?, byte_at(bytes, 9)?.cast_signed());
        // Source 0 is the number from the factory, 255 none at all.
        let known = byte_at(bytes, 23)? & 1 != 0 && !matches!(source, 0 | 255);
        let leap_s = known.then_some(leap_s);
        Some(Self { leap_s })
    }
}

/// The antenna supply as the receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Antenna {
    /// Starting, or not supervised.
    Unknown,
    /// Draws the current of an antenna.
    Ok,
    /// Short circuit.
    Short,
    /// Draws no current: cable cut or antenna gone (a passive antenna looks the same).
    Open,
}

impl Antenna {
    fn of(code: u8) -> Self {
        match code {
            2 => Self::Ok,
            3 => Self::Short,
            4 => Self::Open,
            _ => Self::Unknown,
        }
    }
}

/// Interference on the receiver's bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Jamming {
    /// Not measured.
    Unknown,
    /// None that matters.
    Ok,
    /// Interference, with a fix all the same.
    Warning,
    /// Interference, and no fix.
    Critical,
}

impl Jamming {
    fn of(code: u8) -> Self {
        match code & 3 {
            1 => Self::Ok,
            2 => Self::Warning,
            3 => Self::Critical,
            _ => Self::Unknown,
        }
    }
}

/// What the receiver thinks of the signals' honesty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spoofing {
    /// Not watched.
    Unknown,
    /// Nothing indicated, which is no proof.
    None,
    /// One detector says so.
    Indicated,
    /// Several detectors say so.
    Affirmed,
}

impl Spoofing {
    fn of(code: u8) -> Self {
        match code {
            1 => Self::None,
            2 => Self::Indicated,
            3 => Self::Affirmed,
            _ => Self::Unknown,
        }
    }
}

/// The worst of the receiver's radio paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RadioState {
    /// Antenna supply.
    pub antenna: Antenna,
    /// Jamming.
    pub jamming: Jamming,
}

impl RadioState {
    /// Decodes MON-HW.
    #[must_use]
    pub fn decode_mon_hw(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; 60] = payload.first_chunk()?;
        Some(Self {
            antenna: Antenna::of(byte_at(bytes, 20)?),
            jamming: Jamming::of(byte_at(bytes, 22)? >> 2),
        })
    }

    /// Decodes MON-RF: one block for each band, and the worst of them counts.
    #[must_use]
    pub fn decode_mon_rf(payload: &[u8]) -> Option<Self> {
        let [0, count, _, _, blocks @ ..] = payload else {
            return None;
        };
        let blocks = blocks.get(..usize::from(*count) * 24)?;
        let mut state = Self {
            antenna: Antenna::Unknown,
            jamming: Jamming::Unknown,
        };
        for block in blocks.chunks_exact(24) {
            let [_, flags, antenna, ..] = block else {
                continue;
            };
            state.jamming = state.jamming.max(Jamming::of(*flags));
            state.antenna = match (state.antenna, Antenna::of(*antenna)) {
                (Antenna::Unknown, other)
                | (Antenna::Ok, other @ (Antenna::Short | Antenna::Open)) => other,
                (worst, _) => worst,
            };
        }
        Some(state)
    }
}

/// Signal security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecSig {
    /// Jamming, if its detector is on.
    pub jamming: Jamming,
    /// Spoofing, if its detector is on.
    pub spoofing: Spoofing,
}

impl SecSig {
    /// Decodes SEC-SIG of version 1 or 2.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        // Version 2 packs both into one byte and appends the bands.
        let (jam_flags, spoof_flags) = match payload {
            [1, _, _, _, jam_flags, _, _, _, spoof_flags, _, _, _, ..] => {
                (*jam_flags, *spoof_flags)
            }
            [2, flags, _, bands, rest @ ..] if rest.len() >= usize::from(*bands) * 4 => {
                (*flags, *flags >> 3)
            }
            _ => return None,
        };
        let if_on = |flags: u8, state: u8| if flags & 1 != 0 { state } else { 0 };
        Some(Self {
            jamming: Jamming::of(if_on(jam_flags, jam_flags >> 1)),
            spoofing: Spoofing::of(if_on(spoof_flags, spoof_flags >> 1 & 7)),
        })
    }
}

/// The spoofing state of NAV-STATUS, which receivers before SEC-SIG have.
#[must_use]
pub fn nav_status_spoofing(payload: &[u8]) -> Option<Spoofing> {
    let bytes: &[u8; 16] = payload.first_chunk()?;
    Some(Spoofing::of(byte_at(bytes, 7)? >> 3 & 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_seconds_count_only_from_the_sky_or_a_setting() {
        for source in 0..=255 {
            for valid in [0, 1, 2, 3] {
                let mut payload = [0; 24];
                payload[8] = source;
                payload[9] = 18;
                payload[23] = valid;
                let known = valid & 1 == 1 && source != 0 && source != 255;
                let expected = NavTimeLs {
                    leap_s: known.then_some(18),
                };
                assert_eq!(NavTimeLs::decode(&payload), Some(expected));
                assert_eq!(NavTimeLs::decode(&payload[..23]), None);
            }
        }
    }

    #[test]
    fn the_worst_radio_path_counts() {
        let mut payload = [0; 4 + 2 * 24];
        payload[1] = 2;
        for (blocks, antenna, jamming) in [
            ([(2, 1), (2, 1)], Antenna::Ok, Jamming::Ok),
            ([(2, 3), (4, 1)], Antenna::Open, Jamming::Critical),
            ([(3, 1), (2, 2)], Antenna::Short, Jamming::Warning),
            ([(1, 0), (0, 0)], Antenna::Unknown, Jamming::Unknown),
            ([(1, 0), (2, 0)], Antenna::Ok, Jamming::Unknown),
        ] {
            for (n, (antenna, jamming)) in blocks.into_iter().enumerate() {
                payload[4 + n * 24 + 1] = jamming;
                payload[4 + n * 24 + 2] = antenna;
            }
            let expected = RadioState { antenna, jamming };
            assert_eq!(RadioState::decode_mon_rf(&payload), Some(expected));
        }
        assert_eq!(RadioState::decode_mon_rf(&payload[..51]), None);
    }

    #[test]
    fn mon_hw_has_one_path() {
        let mut payload = [0; 60];
        payload[20] = 4;
        payload[22] = 0b1_1011;
        let expected = RadioState {
            antenna: Antenna::Open,
            jamming: Jamming::Warning,
        };
        assert_eq!(RadioState::decode_mon_hw(&payload), Some(expected));
        assert_eq!(RadioState::decode_mon_hw(&payload[..59]), None);
    }

    #[test]
    fn both_versions_of_sec_sig_are_read_and_a_detector_that_is_off_says_nothing() {
        let one = |jam: u8, spoof: u8| [1, 0, 0, 0, jam, 0, 0, 0, spoof, 0, 0, 0];
        let said = |jamming, spoofing| Some(SecSig { jamming, spoofing });
        let decode = |payload: &[u8]| SecSig::decode(payload);
        assert_eq!(
            decode(&one(0b101, 0b111)),
            said(Jamming::Warning, Spoofing::Affirmed)
        );
        assert_eq!(
            decode(&one(0b100, 0b110)),
            said(Jamming::Unknown, Spoofing::Unknown)
        );
        // Recorded: 0x9b, and 0x1d with each band jammed.
        assert_eq!(decode(&[2, 0x9b, 0, 0]), said(Jamming::Ok, Spoofing::None));
        assert_eq!(
            decode(&[2, 0x1d, 0, 1, 1, 2, 3, 4]),
            said(Jamming::Warning, Spoofing::None)
        );
        assert_eq!(
            decode(&[2, 0x2d, 0, 0]).map(|sig| sig.spoofing),
            Some(Spoofing::Indicated)
        );
        assert_eq!(
            decode(&[2, 0x25, 0, 0]).map(|sig| sig.spoofing),
            Some(Spoofing::Unknown)
        );
        assert_eq!(decode(&[2, 0x9b, 0, 1]), None);
        assert_eq!(decode(&[3, 0x9b, 0, 0]), None);
        assert_eq!(decode(&one(0, 0)[..11]), None);
    }

    #[test]
    fn nav_status_has_the_spoofing_of_older_receivers() {
        for (code, expected) in [
            (0, Spoofing::Unknown),
            (1, Spoofing::None),
            (2, Spoofing::Indicated),
            (3, Spoofing::Affirmed),
        ] {
            let mut payload = [0; 16];
            payload[7] = code << 3 | 0x03;
            assert_eq!(nav_status_spoofing(&payload), Some(expected));
        }
        assert_eq!(nav_status_spoofing(&[0; 15]), None);
    }
}
