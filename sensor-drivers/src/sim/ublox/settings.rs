//! What a receiver lets itself be told, by generation.
//!
//! Promises: a message that the generation does not know is refused, an unknown key refuses the
//! whole message and changes nothing. Never: an answer of a receiver that does not speak UBX.

use crate::ubx::{self, status};

/// How the receiver is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Generation 10: CFG-VALSET.
    M10,
    /// Generation 9: the same without SEC-SIG.
    M9,
    /// Generation 8 and older: CFG-PRT, CFG-MSG, CFG-RATE.
    M8,
    /// Answers nothing: another maker's receiver, or a recording of one without UBX.
    Mute,
    /// Accepts everything and changes nothing: a recording.
    Recording,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    generation: Generation,
    pub(super) nmea_out: bool,
    ubx_out: bool,
    nav_pvt_every: u64,
    /// NAV-TIMELS, MON-RF or MON-HW, SEC-SIG, NAV-STATUS.
    slow_every: [u64; 4],
}

impl Settings {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            generation,
            nmea_out: true,
            ubx_out: true,
            nav_pvt_every: 0,
            slow_every: [0; 4],
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.generation);
    }

    pub(super) fn sends_nav_pvt(&self, n: u64) -> bool {
        self.ubx_out && self.nav_pvt_every > 0 && n.is_multiple_of(self.nav_pvt_every)
    }

    /// Which messages about itself the receiver sends with epoch `n`: NAV-TIMELS, MON-RF or (in
    /// generation 8) MON-HW, SEC-SIG, NAV-STATUS.
    pub(super) fn sends_slow(&self, n: u64) -> ([bool; 4], bool) {
        let due = |every: u64| self.ubx_out && every > 0 && n.is_multiple_of(every);
        (self.slow_every.map(due), self.generation == Generation::M8)
    }

    /// Takes a CFG message; `Some(accepted)` when the receiver answers.
    pub(super) fn apply(&mut self, id: u8, payload: &[u8]) -> Option<bool> {
        let changed = match (self.generation, id) {
            (Generation::Mute, _) => return None,
            (Generation::Recording, _) => return Some(true),
            (Generation::M10 | Generation::M9, ubx::ID_CFG_VALSET) => self.with_values(payload),
            (Generation::M8, ubx::ID_CFG_PRT) => self.with_port(payload),
            (Generation::M8, ubx::ID_CFG_MSG) => self.with_rate_of_message(payload),
            (Generation::M8, ubx::ID_CFG_RATE) => (payload.len() == 6).then_some(*self),
            _ => None,
        };
        let accepted = changed.is_some();
        *self = changed.unwrap_or(*self);
        Some(accepted)
    }

    fn with_values(mut self, payload: &[u8]) -> Option<Self> {
        let [0, layers, 0, 0, items @ ..] = payload else {
            return None;
        };
        let mut rest = items;
        while let Some((key, tail)) = rest.split_first_chunk::<4>() {
            let key = u32::from_le_bytes(*key);
            let size = match key >> 28 {
                1 | 2 => 1,
                3 => 2,
                4 => 4,
                _ => return None,
            };
            let (value, tail) = tail.split_at_checked(size)?;
            rest = tail;
            let number = value
                .iter()
                .rev()
                .fold(0, |sum, byte| sum * 256 + u64::from(*byte));
            match key {
                ubx::KEY_I2COUTPROT_UBX => self.ubx_out = number == 1,
                ubx::KEY_I2COUTPROT_NMEA => self.nmea_out = number == 1,
                ubx::KEY_MSGOUT_NAV_PVT_I2C => self.nav_pvt_every = number,
                status::KEY_MSGOUT_NAV_TIMELS_I2C => self.slow_every[0] = number,
                status::KEY_MSGOUT_MON_RF_I2C => self.slow_every[1] = number,
                status::KEY_MSGOUT_SEC_SIG_I2C if self.generation == Generation::M10 => {
                    self.slow_every[2] = number;
                }
                status::KEY_MSGOUT_NAV_STATUS_I2C => self.slow_every[3] = number,
                ubx::KEY_RATE_MEAS | ubx::KEY_RATE_NAV => {}
                _ => return None,
            }
        }
        (rest.is_empty() && layers & 1 == 1).then_some(self)
    }

    fn with_port(mut self, payload: &[u8]) -> Option<Self> {
        let port = *payload.first()?;
        let out = *payload
            .get(14)
            .filter(|_| payload.len() == 20 && port == 0)?;
        self.ubx_out = out & 1 == 1;
        self.nmea_out = out & 2 == 2;
        Some(self)
    }

    fn with_rate_of_message(mut self, payload: &[u8]) -> Option<Self> {
        let ([class, id, rate] | [class, id, rate, _, _, _, _, _]) = payload else {
            return None;
        };
        let rate = u64::from(*rate);
        match (*class, *id) {
            (ubx::CLASS_NAV, ubx::ID_NAV_PVT) => self.nav_pvt_every = rate,
            (ubx::CLASS_NAV, status::ID_NAV_TIMELS) => self.slow_every[0] = rate,
            (status::CLASS_MON, status::ID_MON_HW) => self.slow_every[1] = rate,
            (ubx::CLASS_NAV, status::ID_NAV_STATUS) => self.slow_every[3] = rate,
            _ => {}
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ubx::Message;

    fn apply(settings: &mut Settings, message: Option<Message>) -> Option<bool> {
        let message = message.unwrap();
        let bytes = message.as_bytes();
        settings.apply(bytes[3], &bytes[6..bytes.len() - 2])
    }

    #[test]
    fn each_generation_takes_its_own_messages_and_refuses_the_others() {
        let valset = Message::cfg_valset(&[(ubx::KEY_MSGOUT_NAV_PVT_I2C, 1)]);
        let port = Message::cfg_prt_i2c(0x42, false);
        let expected = [
            (Generation::M10, Some(true), Some(false)),
            (Generation::M9, Some(true), Some(false)),
            (Generation::M8, Some(false), Some(true)),
            (Generation::Mute, None, None),
            (Generation::Recording, Some(true), Some(true)),
        ];
        for (generation, on_valset, on_port) in expected {
            let mut settings = Settings::new(generation);
            assert_eq!(apply(&mut settings, valset), on_valset, "{generation:?}");
            let modern = matches!(generation, Generation::M10 | Generation::M9);
            assert_eq!(settings.sends_nav_pvt(7), modern);
            assert_eq!(apply(&mut settings, port), on_port, "{generation:?}");
            assert_eq!(settings.nmea_out, generation != Generation::M8);
        }
    }

    #[test]
    fn generation_9_has_no_sec_sig() {
        let message = Message::cfg_valset(&[(status::KEY_MSGOUT_SEC_SIG_I2C, 10)]);
        for (generation, accepted) in [(Generation::M10, true), (Generation::M9, false)] {
            let mut settings = Settings::new(generation);
            assert_eq!(apply(&mut settings, message), Some(accepted));
            let (sends, _) = settings.sends_slow(0);
            assert_eq!(sends, [false, false, accepted, false]);
        }
    }

    #[test]
    fn an_unknown_key_changes_nothing() {
        let mut settings = Settings::new(Generation::M10);
        let message = Message::cfg_valset(&[(ubx::KEY_I2COUTPROT_NMEA, 0), (0x1072_0004, 1)]);
        assert_eq!(apply(&mut settings, message), Some(false));
        assert!(settings.nmea_out);
    }
}
