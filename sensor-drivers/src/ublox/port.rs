//! How the receiver's port is brought to NAV-PVT, and noticed to have left it.
//!
//! Promises: pure; every wait is bounded; NMEA is switched off only after NAV-PVT was seen. Never:
//! bus access (the driver sends what [`Port::advance`] returns).
//!
//! ```text
//! Idle --VALSET--> Modern --NAK or 1.5 s--> Legacy (CFG-PRT, CFG-MSG, CFG-RATE)
//!                    | ACK                    | answered or 1.5 s
//!                    v                        v
//!                 AwaitPvt --3 s without NAV-PVT--> Nmea --60 s--> Idle
//!                    | NAV-PVT (from any state)      (NMEA is switched on if it is silent)
//!                    v
//!                  Ubx  NMEA off, again if it stays; NMEA in place of NAV-PVT, or 3 s
//!                       without NAV-PVT --> Modern
//! ```

use crate::gnss::stream::Frame;
use crate::nmea::{self, Sentence};
use crate::ubx::{self, Ack, Message, status};

use super::UbloxMode;

const ANSWER_MS_MAX: u64 = 1500;
const PVT_MS_MAX: u64 = 3000;
/// Sentences that were buffered before NMEA went off still arrive for a while.
const QUIET_MS_MAX: u64 = 3000;
/// A receiver that does not obey is asked again once in so long.
const RETRY_MS: u64 = 60_000;
/// How often in a row NMEA is switched off before it is tolerated.
const QUIET_TRIES_MAX: u8 = 3;
const RATE_MS: u16 = 1000;
/// The receiver tells about itself once in so many epochs.
const SLOW_EPOCHS: u8 = 10;

/// Messages to send, in order.
#[derive(Debug, Default)]
pub(super) struct Action {
    pub(super) messages: [Option<Message>; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Modern,
    Legacy,
    AwaitPvt,
    Ubx,
    Nmea,
}

/// Which configuration language the receiver has accepted, if it has answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Unknown,
    Modern,
    Legacy,
}

/// The state of the port.
#[derive(Debug)]
pub(super) struct Port {
    address: u8,
    phase: Phase,
    since_ms: u64,
    dialect: Dialect,
    answer: Option<Ack>,
    pvt_at_ms: Option<u64>,
    nmea_at_ms: Option<u64>,
    quiet_asked_ms: Option<u64>,
    quiet_tries: u8,
    asked_of_itself: Asked,
}

/// Which of the slow messages have been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Modern,
    All,
}

impl Port {
    pub(super) fn new(address: u8) -> Self {
        Self {
            address,
            phase: Phase::Idle,
            since_ms: 0,
            dialect: Dialect::Unknown,
            answer: None,
            pvt_at_ms: None,
            nmea_at_ms: None,
            quiet_asked_ms: None,
            quiet_tries: 0,
            asked_of_itself: Asked::Nothing,
        }
    }

    /// Begins anew at the next `advance`.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.address);
    }

    pub(super) fn mode(&self) -> UbloxMode {
        match self.phase {
            Phase::Ubx => UbloxMode::Ubx,
            Phase::Nmea => UbloxMode::Nmea,
            Phase::Idle | Phase::Modern | Phase::Legacy | Phase::AwaitPvt => UbloxMode::Configuring,
        }
    }

    pub(super) fn hear(&mut self, frame: &Frame<'_>, now_ms: u64) {
        match frame {
            Frame::Ubx {
                class: ubx::CLASS_NAV,
                id: ubx::ID_NAV_PVT,
                ..
            } => {
                self.pvt_at_ms = Some(now_ms);
            }
            Frame::Ubx { class, id, payload } => {
                if let Some(ack) = Ack::decode(*class, *id, payload) {
                    self.hear_answer(ack);
                }
            }
            // Only what the port configuration governs: TXT is also sent at every start.
            Frame::Nmea { body } => {
                if matches!(nmea::parse(body), Sentence::Rmc(_) | Sentence::Gga(_)) {
                    self.nmea_at_ms = Some(now_ms);
                }
            }
        }
    }

    fn hear_answer(&mut self, ack: Ack) {
        let expected = match self.phase {
            Phase::Modern => ack.id == ubx::ID_CFG_VALSET,
            // NAV-PVT is what matters; a refused rate or port setting does not decide.
            Phase::Legacy => ack.id == ubx::ID_CFG_MSG,
            _ => false,
        };
        if ack.class == ubx::CLASS_CFG && expected {
            self.answer = Some(ack);
        }
    }

    /// Takes the next step and returns what must be sent for it.
    pub(super) fn advance(&mut self, now_ms: u64) -> Action {
        let waited_ms = now_ms.saturating_sub(self.since_ms);
        let answer = self.answer.take();
        match self.phase {
            Phase::Idle => self.ask_modern(now_ms),
            Phase::Modern | Phase::Legacy | Phase::AwaitPvt | Phase::Nmea
                if self.pvt_since(self.since_ms) =>
            {
                self.settle_answer(answer);
                self.enter(Phase::Ubx, now_ms);
                self.ask_quiet(now_ms)
            }
            Phase::Modern => match answer {
                Some(Ack { accepted: true, .. }) => {
                    self.dialect = Dialect::Modern;
                    self.enter(Phase::AwaitPvt, now_ms);
                    Action::default()
                }
                Some(_) => self.ask_legacy(now_ms),
                None if waited_ms >= ANSWER_MS_MAX => self.ask_legacy(now_ms),
                None => Action::default(),
            },
            Phase::Legacy => {
                if answer.is_some() || waited_ms >= ANSWER_MS_MAX {
                    self.settle_answer(answer);
                    self.enter(Phase::AwaitPvt, now_ms);
                }
                Action::default()
            }
            Phase::AwaitPvt if waited_ms >= PVT_MS_MAX => {
                self.enter(Phase::Nmea, now_ms);
                self.ask_nmea(now_ms)
            }
            Phase::AwaitPvt => Action::default(),
            Phase::Ubx => self.watch(now_ms),
            Phase::Nmea if waited_ms >= RETRY_MS => self.ask_modern(now_ms),
            Phase::Nmea => Action::default(),
        }
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.since_ms = now_ms;
    }

    fn settle_answer(&mut self, answer: Option<Ack>) {
        if let Some(Ack {
            accepted: true, id, ..
        }) = answer
        {
            self.dialect = if id == ubx::ID_CFG_VALSET {
                Dialect::Modern
            } else {
                Dialect::Legacy
            };
        }
    }

    fn pvt_since(&self, since_ms: u64) -> bool {
        self.pvt_at_ms.is_some_and(|at_ms| at_ms >= since_ms)
    }

    fn ask_modern(&mut self, now_ms: u64) -> Action {
        self.enter(Phase::Modern, now_ms);
        self.asked_of_itself = Asked::Nothing;
        self.pvt_at_ms = None;
        self.dialect = Dialect::Unknown;
        let items = [
            (ubx::KEY_I2COUTPROT_UBX, 1),
            (ubx::KEY_MSGOUT_NAV_PVT_I2C, 1),
            (ubx::KEY_RATE_MEAS, RATE_MS),
            (ubx::KEY_RATE_NAV, 1),
        ];
        Action {
            messages: [Message::cfg_valset(&items), None, None, None],
        }
    }

    fn ask_legacy(&mut self, now_ms: u64) -> Action {
        self.enter(Phase::Legacy, now_ms);
        let messages = [
            Message::cfg_prt_i2c(self.address, true),
            Message::cfg_rate(RATE_MS),
            Message::cfg_msg_nav_pvt(),
            None,
        ];
        Action { messages }
    }

    fn ask_quiet(&mut self, now_ms: u64) -> Action {
        self.quiet_asked_ms = Some(now_ms);
        self.quiet_tries = self.quiet_tries.saturating_add(1);
        self.set_nmea(false)
    }

    /// Switches NMEA on when the receiver says nothing at all; it is on by default.
    fn ask_nmea(&mut self, now_ms: u64) -> Action {
        let heard = self
            .nmea_at_ms
            .is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < PVT_MS_MAX);
        if heard {
            Action::default()
        } else {
            self.set_nmea(true)
        }
    }

    fn set_nmea(&self, on: bool) -> Action {
        let modern = || Message::cfg_valset(&[(ubx::KEY_I2COUTPROT_NMEA, u16::from(on))]);
        let legacy = || Message::cfg_prt_i2c(self.address, on);
        let messages = match self.dialect {
            Dialect::Modern => [modern(), None, None, None],
            Dialect::Legacy => [legacy(), None, None, None],
            Dialect::Unknown => [modern(), legacy(), None, None],
        };
        Action { messages }
    }

    /// Asks for the slow messages about the receiver itself, each on its own: a receiver refuses a
    /// message whole when it does not know one key of it. Nothing waits for the answers.
    fn ask_of_itself(&mut self) -> Action {
        let (ask_modern, next) = match (self.dialect, self.asked_of_itself) {
            (Dialect::Modern, _) => (true, Asked::All),
            (Dialect::Unknown, Asked::Nothing) => (true, Asked::Modern),
            _ => (false, Asked::All),
        };
        self.asked_of_itself = next;
        let messages = if ask_modern {
            [
                status::KEY_MSGOUT_NAV_TIMELS_I2C,
                status::KEY_MSGOUT_MON_RF_I2C,
                status::KEY_MSGOUT_SEC_SIG_I2C,
                // Generation 9 has no SEC-SIG.
                status::KEY_MSGOUT_NAV_STATUS_I2C,
            ]
            .map(|key| Message::cfg_valset(&[(key, u16::from(SLOW_EPOCHS))]))
        } else {
            let slow = |class, id| Message::cfg_msg(class, id, SLOW_EPOCHS);
            [
                slow(ubx::CLASS_NAV, status::ID_NAV_TIMELS),
                slow(status::CLASS_MON, status::ID_MON_HW),
                slow(ubx::CLASS_NAV, status::ID_NAV_STATUS),
                None,
            ]
        };
        Action { messages }
    }

    fn watch(&mut self, now_ms: u64) -> Action {
        let pvt_age_ms = now_ms.saturating_sub(self.pvt_at_ms.unwrap_or(self.since_ms));
        if pvt_age_ms >= PVT_MS_MAX {
            self.quiet_tries = 0;
            return self.ask_modern(now_ms);
        }
        if self.asked_of_itself != Asked::All {
            return self.ask_of_itself();
        }
        let asked_ms = self.quiet_asked_ms.unwrap_or(self.since_ms);
        let pause_ms = if self.quiet_tries < QUIET_TRIES_MAX {
            QUIET_MS_MAX
        } else {
            RETRY_MS
        };
        let back_at_ms = self
            .nmea_at_ms
            .filter(|at_ms| *at_ms >= asked_ms + pause_ms);
        match back_at_ms {
            // NMEA in place of NAV-PVT: the receiver is back at its defaults. To switch NMEA off
            // here would leave it silent.
            Some(back_at_ms) if !self.pvt_since(back_at_ms) => self.ask_modern(now_ms),
            Some(_) => self.ask_quiet(now_ms),
            None => {
                if now_ms >= asked_ms + pause_ms {
                    self.quiet_tries = 0;
                }
                Action::default()
            }
        }
    }
}
