//! What a receiver says about itself, beside positions.
//!
//! Promises: the last word of the receiver on antenna, jamming and leap seconds; the worst word
//! ever on spoofing, because detection fires at the transition and is silent afterwards, until a
//! person clears it. Never: a state that was not said; a verdict on a position.

use super::stream::Frame;
use crate::ubx::CLASS_NAV;
use crate::ubx::status::{self, Antenna, Jamming, NavTimeLs, RadioState, SecSig, Spoofing};

/// Whether UTC of the receiver may be off by whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeapSeconds {
    /// The receiver has not said: it may use a number from its factory.
    Unheard,
    /// The receiver says that it does not know.
    Unknown,
    /// GPS time minus UTC, from the sky.
    Known(i8),
}

/// The state of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverHealth {
    /// Antenna supply.
    pub antenna: Antenna,
    /// Jamming: the worse of MON-RF or MON-HW and SEC-SIG.
    pub jamming: Jamming,
    /// The worst spoofing state since the start, or since it was cleared.
    pub spoofing: Spoofing,
    /// The spoofing state of the last message.
    pub spoofing_at_present: Spoofing,
    /// Leap seconds.
    pub leap_seconds: LeapSeconds,
    radio_jamming: Jamming,
    signal_jamming: Jamming,
}

impl Default for ReceiverHealth {
    fn default() -> Self {
        Self {
            antenna: Antenna::Unknown,
            jamming: Jamming::Unknown,
            spoofing: Spoofing::Unknown,
            spoofing_at_present: Spoofing::Unknown,
            leap_seconds: LeapSeconds::Unheard,
            radio_jamming: Jamming::Unknown,
            signal_jamming: Jamming::Unknown,
        }
    }
}

impl ReceiverHealth {
    /// Takes a frame.
    pub fn hear(&mut self, frame: &Frame<'_>) {
        let Frame::Ubx { class, id, payload } = frame else {
            return;
        };
        match (*class, *id) {
            (CLASS_NAV, status::ID_NAV_TIMELS) => {
                if let Some(said) = NavTimeLs::decode(payload) {
                    self.leap_seconds =
                        said.leap_s.map_or(LeapSeconds::Unknown, LeapSeconds::Known);
                }
            }
            (CLASS_NAV, status::ID_NAV_STATUS) => {
                if let Some(spoofing) = status::nav_status_spoofing(payload) {
                    self.hear_spoofing(spoofing);
                }
            }
            (status::CLASS_MON, status::ID_MON_HW) => {
                self.hear_radio(RadioState::decode_mon_hw(payload));
            }
            (status::CLASS_MON, status::ID_MON_RF) => {
                self.hear_radio(RadioState::decode_mon_rf(payload));
            }
            (status::CLASS_SEC, status::ID_SEC_SIG) => {
                if let Some(said) = SecSig::decode(payload) {
                    self.signal_jamming = said.jamming;
                    self.jamming = self.radio_jamming.max(self.signal_jamming);
                    self.hear_spoofing(said.spoofing);
                }
            }
            _ => {}
        }
    }

    /// A person has looked at the spoofing alarm.
    pub fn clear_spoofing(&mut self) {
        self.spoofing = self.spoofing_at_present;
    }

    /// The receiver has lost its state; only the latched alarm stays.
    pub fn interrupt(&mut self) {
        let spoofing = self.spoofing;
        *self = Self {
            spoofing,
            ..Self::default()
        };
    }

    fn hear_radio(&mut self, state: Option<RadioState>) {
        if let Some(state) = state {
            self.antenna = state.antenna;
            self.radio_jamming = state.jamming;
            self.jamming = self.radio_jamming.max(self.signal_jamming);
        }
    }

    fn hear_spoofing(&mut self, spoofing: Spoofing) {
        self.spoofing_at_present = spoofing;
        self.spoofing = self.spoofing.max(spoofing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sec_sig(health: &mut ReceiverHealth, jam: u8, spoof: u8) {
        let payload = [2, 0b1001 | jam << 1 | spoof << 4, 0, 0];
        health.hear(&Frame::Ubx {
            class: 0x27,
            id: 0x09,
            payload: &payload,
        });
    }

    fn mon_rf(health: &mut ReceiverHealth, antenna: u8, jam: u8) {
        let mut payload = [0; 28];
        payload[1] = 1;
        payload[5] = jam;
        payload[6] = antenna;
        health.hear(&Frame::Ubx {
            class: 0x0a,
            id: 0x38,
            payload: &payload,
        });
    }

    #[test]
    fn spoofing_stays_until_it_is_cleared_even_over_a_restart() {
        let mut health = ReceiverHealth::default();
        for (code, latched) in [
            (1, Spoofing::None),
            (2, Spoofing::Indicated),
            (1, Spoofing::Indicated),
            (3, Spoofing::Affirmed),
            (1, Spoofing::Affirmed),
        ] {
            sec_sig(&mut health, 1, code);
            assert_eq!(health.spoofing, latched);
        }
        assert_eq!(health.spoofing_at_present, Spoofing::None);
        health.interrupt();
        assert_eq!(health.spoofing, Spoofing::Affirmed);
        assert_eq!(health.spoofing_at_present, Spoofing::Unknown);
        sec_sig(&mut health, 1, 1);
        health.clear_spoofing();
        assert_eq!(health.spoofing, Spoofing::None);
    }

    #[test]
    fn jamming_is_the_worse_of_both_messages_and_goes_when_both_say_so() {
        let mut health = ReceiverHealth::default();
        mon_rf(&mut health, 2, 1);
        assert_eq!((health.antenna, health.jamming), (Antenna::Ok, Jamming::Ok));
        sec_sig(&mut health, 2, 1);
        assert_eq!(health.jamming, Jamming::Warning);
        mon_rf(&mut health, 4, 3);
        assert_eq!(
            (health.antenna, health.jamming),
            (Antenna::Open, Jamming::Critical)
        );
        sec_sig(&mut health, 1, 1);
        assert_eq!(health.jamming, Jamming::Critical);
        mon_rf(&mut health, 2, 1);
        assert_eq!(health.jamming, Jamming::Ok);
    }

    #[test]
    fn messages_that_cannot_be_read_change_nothing() {
        let mut health = ReceiverHealth::default();
        sec_sig(&mut health, 1, 1);
        let before = health;
        for (class, id) in [
            (0x27, 9),
            (0x0a, 0x38),
            (0x0a, 9),
            (1, 3),
            (1, 0x26),
            (9, 9),
        ] {
            health.hear(&Frame::Ubx {
                class,
                id,
                payload: &[2, 1],
            });
        }
        health.hear(&Frame::Nmea { body: b"GPTXT" });
        assert_eq!(health, before);
    }
}
