//! How people on the vehicle are told, without any uplink: displays, a command, a buzzer.
//!
//! ```text
//!  pipeline --bounded, never waits--> notify thread --bounded--> local broker, a child process (broker/)
//!                                          |----------> buzzer line
//!                                          +--bounded--> hook thread --> command, alert as JSON on stdin
//! ```
//! Promises: nothing here holds up the pipeline: what finds no room is dropped and counted in the log, and the
//! alert goes its way to the centre all the same; a command is bounded in time, in number and in output. Never:
//! a start that fails.

mod broker;
mod buzzer;
mod hook;

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use firmware_shared::alert::{Alert, AlertState};

use crate::clock::boottime_ms;
use crate::config::NotifyConfig;
use broker::LocalBroker;
pub use broker::{NoProgram, find_program};
use buzzer::{Buzzer, Line};
use hook::Hook;

/// Alerts that may wait for the notify thread: every condition of a vehicle at once.
const NOTICES_MAX: usize = 64;
const STACK_LEN: usize = 256 * 1024;

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The transition.
    pub alert: Alert,
    /// It happened; otherwise it was told before a restart and is open still.
    pub is_news: bool,
}

/// The way to the people on the vehicle.
#[derive(Debug)]
pub struct Notifier {
    notices: Option<Sender<Notice>>,
    thread: Option<JoinHandle<()>>,
    dropped: u64,
}

impl Notifier {
    /// Starts what the configuration asks for.
    #[must_use]
    pub fn start(config: &NotifyConfig) -> Self {
        let dropped = 0;
        if *config == NotifyConfig::default() {
            return Self {
                notices: None,
                thread: None,
                dropped,
            };
        }
        let (sender, notices) = bounded(NOTICES_MAX);
        let config = config.clone();
        let thread = std::thread::Builder::new()
            .name("notify".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || Room::open(&config).run(&notices));
        if let Err(error) = &thread {
            tracing::warn!(%error, "nobody on the vehicle is told of alerts");
        }
        Self {
            notices: thread.is_ok().then_some(sender),
            thread: thread.ok(),
            dropped,
        }
    }

    /// Tells what waits, and has the buzzer silent.
    pub fn close(&mut self) {
        self.notices = None;
        if let Some(thread) = self.thread.take() {
            // A panic there would have ended the process.
            thread.join().ok();
        }
    }

    /// Tells, without waiting.
    pub fn tell(&mut self, notice: Notice) {
        if let Some(notices) = &self.notices
            && notices.try_send(notice).is_err()
        {
            self.dropped += 1;
            tracing::warn!(
                dropped = self.dropped,
                "an alert is not told on the vehicle"
            );
        }
    }
}

/// What the notify thread holds.
#[derive(Debug)]
struct Room {
    broker: Option<LocalBroker>,
    hook: Option<Hook>,
    buzzer: Option<(Buzzer, Line)>,
    open: BTreeMap<String, Alert>,
}

impl Room {
    fn open(config: &NotifyConfig) -> Self {
        let broker = config.broker.as_ref().and_then(|broker| {
            LocalBroker::start(broker)
                .inspect_err(|error| tracing::error!(%error, "there is no local broker"))
                .ok()
        });
        let hook = config.hook.clone().and_then(|hook| {
            Hook::start(hook)
                .inspect_err(|error| tracing::warn!(%error, "there is no hook"))
                .ok()
        });
        let buzzer = config.buzzer.as_ref();
        let mut room = Self {
            broker,
            hook,
            buzzer: buzzer.map(|buzzer| (Buzzer::new(buzzer), Line::new(buzzer))),
            open: BTreeMap::new(),
        };
        room.tell_open();
        room
    }

    fn run(mut self, notices: &Receiver<Notice>) {
        loop {
            let now_ms = boottime_ms();
            let deadline_ms = self
                .buzzer
                .as_ref()
                .and_then(|(buzzer, _)| buzzer.deadline_ms());
            let wait_ms = deadline_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
            let notice = match wait_ms {
                Some(wait_ms) => notices.recv_timeout(Duration::from_millis(wait_ms)),
                None => notices.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match notice {
                Ok(notice) => self.hear(notice),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.sound();
        }
        if let Some((_, line)) = &mut self.buzzer {
            line.set(boottime_ms(), false);
        }
        if let Some(broker) = &mut self.broker {
            broker.close();
        }
    }

    fn hear(&mut self, notice: Notice) {
        let Notice { alert, is_news } = notice;
        let json = serde_json::to_string(&alert).unwrap_or_default();
        let id = alert.id.to_string();
        let is_over = alert.state == AlertState::Closed;
        if let Some(broker) = &mut self.broker {
            broker.tell(&id, &json, is_over);
        }
        if let Some(hook) = self.hook.as_mut().filter(|_| is_news) {
            hook.tell(alert.severity, json.into_bytes());
        }
        if let Some((buzzer, _)) = &mut self.buzzer {
            buzzer.hear(boottime_ms(), &alert);
        }
        match alert.state {
            AlertState::Raised | AlertState::Escalated => drop(self.open.insert(id, alert)),
            AlertState::Cleared | AlertState::Closed => drop(self.open.remove(&id)),
        }
        self.tell_open();
    }

    /// All that is open in one message, worst first: a display needs no memory of its own.
    fn tell_open(&mut self) {
        if let Some(broker) = &mut self.broker {
            let mut open: Vec<&Alert> = self.open.values().collect();
            open.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
            broker.tell_open(&serde_json::to_string(&open).unwrap_or_default());
        }
    }

    fn sound(&mut self) {
        let now_ms = boottime_ms();
        if let Some((buzzer, line)) = &mut self.buzzer
            && let Some(on) = buzzer.turn(now_ms)
        {
            line.set(now_ms, on);
        }
    }
}
