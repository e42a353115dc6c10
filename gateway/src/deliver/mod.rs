//! Delivery: everything from a sealed frame to its central acknowledgement, behind one door.
//!
//! Promises: a frame that was accepted and synced reaches the centre or stands in the loss ledger; it is
//! freed by the central acknowledgement alone (by the broker's with [`AckLevel::Puback`]); opening never
//! fails; live frames go first, the backlog never starves, alerts wait for neither.
//!
//! Never: reads a clock (time comes in as milliseconds of CLOCK_BOOTTIME), waits, or touches anything but
//! the [`Disk`] it was given.
//!
//! The run loop calls [`Deliver::accept`] and [`Deliver::sync`] for what was sealed, [`Deliver::handle`] for
//! what the link tells, then [`Deliver::poll`] until it gives nothing, and waits until
//! [`Deliver::deadline`] or the next input.

mod alarm;
mod compose;
mod config;
mod promote;
mod receive;
mod send;
mod stats;

use std::collections::BTreeSet;

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::{ClockSource, TimeAnchor};

pub use alarm::{Alarm, AlarmKind};
pub use compose::will;
pub use config::{AckLevel, DeliverConfig, ProcessIdentity};
pub use promote::black_box;
pub use stats::{Counts, DeliverStats, LaneStats};

use crate::forward::budget::{Budget, Month, PlanUse};
use crate::forward::centre::Centre;
use crate::forward::flow::{Flow, Item};
use crate::forward::link::Connection;
use crate::forward::pace::{ACK_PERIOD_MS, Pace, Silence};
use crate::forward::random::Random;
use crate::spool::disk::Disk;
use crate::spool::{EpochNote, Frame, PerLane, Place, Refused, Spool, SpoolEvent};
use alarm::Alarms;
use compose::{LossRound, Topics};
use promote::Promises;
use stats::Ages;

/// What delivery passes on about the vehicle without needing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Who vouches for the clock, and the bound of its error, ms.
    pub clock: Option<(ClockSource, u64)>,
    /// When the vehicle's certificate ends, seconds since 1970.
    pub certificate_until_s: Option<i64>,
}

/// Spool, ledger and forwarding behind one door.
#[derive(Debug)]
pub struct Deliver {
    config: DeliverConfig,
    identity: ProcessIdentity,
    topics: Topics,
    spool: Spool,
    main: Flow,
    alert: Flow,
    /// Up to where the backlog of each lane was looked through.
    cursors: PerLane<Place>,
    health_turn: bool,
    promises: Promises,
    centre: Centre,
    pace: Pace,
    silence: Silence,
    budget: Budget,
    birth: BirthPlan,
    losses: LossRound,
    /// The boot whose anchors go out next.
    anchors_next: Option<usize>,
    status_ms: u64,
    /// Refusals of intact frames, by stream and first number.
    refusals: Vec<(StreamId, u64, u8)>,
    closing: Closing,
    random: Random,
    token: u64,
    alarms: Alarms,
    counts: Counts,
    acked: PerLane<u64>,
    ages: PerLane<Ages>,
    opened_ms: u64,
    surroundings: Surroundings,
    now_ms: u64,
    state_dirty_since_ms: Option<u64>,
    state_stale_since_ms: Option<u64>,
    /// Since when the main connection is down.
    offline_since_ms: Option<u64>,
    disk_retry_ms: u64,
    /// When it is seen to that the first alert finds room.
    room_ms: u64,
}

/// Behind the first readings of a start, before anybody can be alarmed about them.
const ROOM_FIRST_MS: u64 = 1_000;
const ROOM_MS: u64 = 10_000;
/// Trying on a full disk writes for nothing.
const ROOM_FULL_MS: u64 = 3_600_000;
/// How old a loss that the run loop reports may get before it is written down, ms.
const LOSS_LAZY_MS: u64 = 1_000;

/// Where the births of the current connection stand.
#[derive(Debug, Default)]
struct BirthPlan {
    /// When the next one is due.
    due_ms: Option<u64>,
    /// When the last one went out.
    sent_ms: Option<u64>,
    /// When the backlog begins without an answer.
    gate_ms: Option<u64>,
    /// Births since the last whole answer.
    unanswered: u32,
    /// The streams of the last birth that no answer has named: a part of an answer may get lost.
    unnamed: BTreeSet<StreamId>,
    was_answered: bool,
    /// Older epochs that did not fit into the last one.
    left_out: bool,
}

/// Where a clean stop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// None was asked for.
    No,
    /// The last word is to be said.
    Goodbye,
    /// It is under way.
    Said,
    /// The broker took it, or there was nobody to say it to.
    Done,
}

impl Deliver {
    /// Opens the spool and begins. A disk that cannot be used gives RAM mode and an alarm.
    #[must_use]
    pub fn open(
        config: DeliverConfig,
        identity: ProcessIdentity,
        disk: Box<dyn Disk>,
        now_ms: u64,
    ) -> Self {
        let mut random = Random::new(config.seed);
        let mut alarms = Alarms::default();
        let note = EpochNote {
            boot_id: identity.boot_id,
            tail_at_most: identity.tail_at_most,
        };
        let limits = config.spool.clone();
        let (epoch, spool_id) = (identity.epoch, random.next_u64());
        let spool = Spool::open(disk, limits, epoch, note, spool_id, now_ms);
        let topics = Topics::new(&config.prefix, &identity);
        if topics.is_none() {
            let text = format!("the topic prefix {:?} cannot be used", config.prefix);
            alarms.raise(AlarmKind::BadPrefix, text);
        }
        let has_anchors = !spool.book().boots.is_empty();
        let mut deliver = Self {
            main: Flow::new(Connection::Main, config.main_limits()),
            alert: Flow::new(Connection::Alert, config.alert_limits()),
            cursors: PerLane::from_fn(|_| Place::default()),
            health_turn: false,
            promises: Promises::default(),
            centre: Centre::default(),
            pace: Pace::new(config.resend_ms_min, config.resend_ms_max),
            silence: Silence::new(config.centre_silent_ms),
            budget: Budget::new(config.plans, now_ms),
            birth: BirthPlan::default(),
            losses: LossRound::default(),
            anchors_next: has_anchors.then_some(0),
            status_ms: now_ms.saturating_add(config.status_ms),
            refusals: Vec::new(),
            closing: Closing::No,
            random,
            token: 0,
            alarms,
            counts: Counts::default(),
            acked: PerLane::from_fn(|_| 0),
            ages: PerLane::from_fn(|_| Ages::default()),
            opened_ms: now_ms,
            surroundings: Surroundings::default(),
            now_ms,
            state_dirty_since_ms: None,
            state_stale_since_ms: None,
            offline_since_ms: Some(now_ms),
            disk_retry_ms: now_ms.saturating_add(config.disk_retry_ms),
            room_ms: now_ms.saturating_add(ROOM_FIRST_MS),
            topics: topics.unwrap_or_else(Topics::none),
            config,
            identity,
            spool,
        };
        deliver.promote_earlier();
        deliver.hear_spool();
        deliver
    }

    /// Takes a sealed frame. Alerts are durable when this returns; the others when they are as old as the
    /// configuration allows and not acknowledged by then, or after [`Deliver::sync`].
    pub fn accept(&mut self, now_ms: u64, frame: Frame) {
        self.tick(now_ms);
        let (stream, range, lane) = (frame.stream, frame.range, frame.stream.lane);
        self.spool.tick(now_ms);
        let appended = self.spool.append(frame);
        if self.commit_age_ms(lane) == 0 {
            self.spool.commit_lane(lane);
        }
        match appended {
            Ok(place) => {
                self.ages.get_mut(lane).note(range.next_seq(), now_ms);
                self.queue_live(place, stream, range);
            }
            Err(Refused::Length(len)) => {
                self.spool.lose(stream, range, LossReason::Corrupt);
                let text = format!("{lane} {range}: {len} bytes are too long for a frame");
                self.alarms.raise(AlarmKind::FrameRefused, text);
            }
            Err(Refused::Epoch(epoch)) => {
                let text = format!("{lane} {range}: epoch {epoch} is not this process");
                self.alarms.raise(AlarmKind::FrameRefused, text);
            }
        }
        self.hear_spool();
    }

    /// Makes everything that was accepted durable.
    pub fn sync(&mut self, now_ms: u64) {
        self.tick(now_ms);
        self.spool.commit();
        self.hear_spool();
    }

    /// Makes durable what is due.
    pub fn commit_due(&mut self, now_ms: u64) {
        self.tick(now_ms);
    }

    /// Whether frames of a lane are about to be written.
    #[must_use]
    pub fn is_commit_due(&self, now_ms: u64, lane: Lane) -> bool {
        let due_ms = self.spool.due_ms(lane, self.commit_age_ms(lane));
        due_ms.is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// How old a frame of a lane may get that is neither durable nor acknowledged, ms.
    fn commit_age_ms(&self, lane: Lane) -> u64 {
        let config = &self.config;
        let offline_ms = self
            .offline_since_ms
            .map_or(0, |since_ms| self.now_ms.saturating_sub(since_ms));
        match lane {
            Lane::Alert => 0,
            _ if offline_ms >= config.offline_after_ms => {
                config.commit_offline_ms.max(config.commit_ms)
            }
            _ => config.commit_ms,
        }
    }

    /// Numbers that were issued but whose record could not be queued.
    pub fn lose(&mut self, stream: StreamId, range: SeqRange, reason: LossReason) {
        self.spool.lose(stream, range, reason);
        // Sooner than acknowledgements, but not one write per number while a queue overflows.
        let lead_ms = self.config.state_lazy_ms.saturating_sub(LOSS_LAZY_MS);
        let since_ms = self.now_ms.saturating_sub(lead_ms);
        let dirty_ms = self.state_dirty_since_ms.unwrap_or(since_ms);
        self.state_dirty_since_ms = Some(dirty_ms.min(since_ms));
    }

    /// What the sequencer has issued so far.
    pub fn note_next_seq(&mut self, lane: Lane, next_seq: u64) {
        let epoch = self.identity.epoch;
        if let Some(stream) = self
            .spool
            .book_unwritten_mut()
            .stream_mut(StreamId { epoch, lane })
        {
            stream.issued_next_seq = stream.issued_next_seq.max(next_seq);
        }
    }

    /// A time anchor of this boot; it goes to the centre and is kept while records of the boot are.
    pub fn anchor(&mut self, anchor: TimeAnchor) {
        self.spool.anchor(anchor);
        self.anchors_next = Some(0);
    }

    /// When [`Deliver::poll`] should be called again if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let state_ms = self
            .state_dirty_since_ms
            .map(|since_ms| since_ms.saturating_add(self.config.state_lazy_ms));
        let retry_ms = self.spool.is_in_ram().then_some(self.disk_retry_ms);
        let stale_ms = self
            .state_stale_since_ms
            .map(|since_ms| since_ms.saturating_add(self.config.state_rare_ms));
        let due_ms = |lane| self.spool.due_ms(lane, self.commit_age_ms(lane));
        let [alert_ms, telemetry_ms, health_ms] = Lane::ALL.map(due_ms);
        let commits = [alert_ms, telemetry_ms, health_ms];
        let times = [state_ms, stale_ms, retry_ms, self.silence.silent_ms()];
        let times = times
            .into_iter()
            .chain(commits)
            .chain(self.budget.deadlines());
        let link = self
            .main_deadlines()
            .into_iter()
            .chain(self.alert_deadlines());
        // What is due already waits for an event, not for time.
        let later = times
            .chain(link)
            .flatten()
            .filter(|at_ms| *at_ms > self.now_ms);
        later.min()
    }

    /// What an earlier process has used of the data plan.
    pub fn restore_plan(&mut self, used: PlanUse) {
        self.budget.restore(used);
    }

    /// What was used of the data plan, to be kept for the next process.
    #[must_use]
    pub fn plan_use(&self) -> PlanUse {
        self.budget.used()
    }

    /// What else the centre is told of the vehicle.
    pub fn note_surroundings(&mut self, surroundings: Surroundings) {
        self.surroundings = surroundings;
    }

    /// Whether the vehicle is in a foreign network, and the month, as far as they are known.
    pub fn note_network(&mut self, now_ms: u64, is_roaming: bool, month: Option<Month>) {
        self.tick(now_ms);
        self.budget.set_roaming(self.now_ms, is_roaming);
        if let Some(month) = month {
            self.budget.note_month(month);
        }
        self.judge_plan();
    }

    fn judge_plan(&mut self) {
        if self.budget.is_used_up() {
            let text = "the data plan of this month is used up; only alerts go out";
            self.alarms.raise(AlarmKind::PlanUsedUp, text);
        } else {
            let text = "the data plan allows readings again";
            self.alarms.clear(AlarmKind::PlanUsedUp, text);
        }
    }

    /// What should become alerts since the last call.
    pub fn take_alarms(&mut self) -> Vec<Alarm> {
        self.alarms.take()
    }

    /// How delivery is doing.
    #[must_use]
    pub fn stats(&self) -> DeliverStats {
        let lane_stats = PerLane::from_fn(|lane| self.lane_stats(lane));
        DeliverStats {
            lanes: lane_stats,
            mode: if self.spool.is_in_ram() {
                "ram"
            } else {
                "disk"
            },
            oldest_unacked_ms: self.oldest_unacked_ms(),
            device: self.spool.device_bytes(),
            device_bytes_lifetime: self.spool.device_bytes_lifetime(),
            card_life_used_percent: self.card_life_used_percent(),
            open_epochs: self.open_epochs() as u64,
            open_losses: self.spool.book().losses().len() as u64,
            connected: self.main.session().is_some(),
            alert_connected: self.alert.session().is_some(),
            in_flight: (self.main.in_flight_count() + self.alert.in_flight_count()) as u64,
            in_flight_bytes: self.main.in_flight_bytes() + self.alert.in_flight_bytes(),
            window_bytes: self.main.window_bytes(),
            awaiting: (self.main.awaiting_count() + self.alert.awaiting_count()) as u64,
            awaiting_bytes: self.main.awaiting_bytes() + self.alert.awaiting_bytes(),
            plan: self.budget.stats(),
            ack_latency_ms: self.pace.ack_latency_ms(),
            alarms: self.alarms.standing(),
            counts: self.counts,
        }
    }

    /// A clean stop: everything accepted is durable, the numbers are final, the last word is queued.
    pub fn close(&mut self, now_ms: u64) {
        self.tick(now_ms);
        self.spool.close();
        self.hear_spool();
        if self.closing == Closing::No {
            self.closing = Closing::Goodbye;
            self.main.hasten_all(ACK_PERIOD_MS);
            self.alert.hasten_all(ACK_PERIOD_MS);
        }
    }

    /// Whether a clean stop has nothing more to say to the link, and nothing more to hear: what was sent is
    /// committed. Without a connection it is not closed before the link has told that there is none to be had.
    /// The caller bounds the wait.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let is_settled =
            |flow: &Flow| flow.session().is_none() || flow.is_idle() && flow.awaiting_count() == 0;
        match self.closing {
            Closing::No | Closing::Goodbye | Closing::Said => false,
            // Acknowledgements come over the main connection alone.
            Closing::Done if self.main.session().is_none() => {
                self.alert.session().is_none() || self.alert.is_idle()
            }
            Closing::Done => {
                // What has no connection is the next process's.
                let is_owed = |lane| {
                    let flow = if lane == Lane::Alert {
                        &self.alert
                    } else {
                        &self.main
                    };
                    flow.session().is_some() && self.lane_stats(lane).unacked > 0
                };
                let owes = Lane::ALL.into_iter().any(is_owed);
                is_settled(&self.main) && is_settled(&self.alert) && !owes
            }
        }
    }

    fn lane_stats(&self, lane: Lane) -> LaneStats {
        let counts = self.spool.counts(lane);
        let book = self.spool.book();
        let id = |epoch| StreamId { epoch, lane };
        let held = book
            .epochs
            .iter()
            .map(|entry| self.spool.held_open(id(entry.epoch)));
        LaneStats {
            bytes: self.spool.bytes(lane),
            frames: self.spool.frames(lane),
            unacked: held.flatten().map(|range| range.count()).sum(),
            accepted: counts.accepted,
            acked: *self.acked.get(lane),
            evicted: counts.evicted,
            corrupt: counts.corrupt,
            disk_errors: counts.disk_errors,
            fsync_errors: counts.fsync_errors,
            oldest_age_ms: self.oldest_age_ms(lane),
            commit: self.spool.commit_latency(lane),
            next_seq: book
                .stream(id(self.identity.epoch))
                .map_or(0, |s| s.issued_next_seq),
        }
    }

    fn oldest_unacked_ms(&self) -> u64 {
        let ages = Lane::ALL.into_iter().map(|lane| self.oldest_age_ms(lane));
        ages.max().unwrap_or(0)
    }

    fn oldest_age_ms(&self, lane: Lane) -> u64 {
        let mut oldest_ms: Option<u64> = None;
        for entry in &self.spool.book().epochs {
            let epoch = entry.epoch;
            let open = self.spool.held_open(StreamId { epoch, lane });
            let Some(first) = open.first() else {
                continue;
            };
            // Records of an earlier process are at least as old as this one.
            let since_ms = if epoch == self.identity.epoch {
                self.ages.get(lane).of(first.first_seq)
            } else {
                Some(self.opened_ms)
            };
            oldest_ms = oldest_ms.min(since_ms).or(since_ms).or(oldest_ms);
        }
        oldest_ms.map_or(0, |since_ms| self.now_ms.saturating_sub(since_ms))
    }

    fn card_life_used_percent(&self) -> f64 {
        let written = self.spool.device_bytes_lifetime() as f64;
        written * 100.0 / (self.config.card_endurance_bytes.max(1) as f64)
    }

    fn flow_mut(&mut self, connection: Connection) -> &mut Flow {
        match connection {
            Connection::Main => &mut self.main,
            Connection::Alert => &mut self.alert,
        }
    }

    /// Whether frames of the connection may go out: the main one says its birth first.
    fn is_open(&self, connection: Connection) -> bool {
        match connection {
            Connection::Main => self.main.session().is_some() && self.birth.sent_ms.is_some(),
            Connection::Alert => self.alert.session().is_some(),
        }
    }

    fn queue_live(&mut self, place: Place, stream: StreamId, range: SeqRange) {
        let lane = stream.lane;
        let connection = match lane {
            Lane::Alert => Connection::Alert,
            Lane::Telemetry | Lane::Health => Connection::Main,
        };
        if !self.is_open(connection) {
            return;
        }
        let item = Item {
            stream,
            range,
            place,
        };
        if let Some(fallen) = self.flow_mut(connection).push_live(item) {
            self.hand_back(&fallen);
        }
    }

    /// The backlog will find this frame again.
    fn hand_back(&mut self, item: &Item) {
        let place = self.spool.where_is(item.stream.lane, item.place);
        let cursor = self.cursors.get_mut(item.stream.lane);
        *cursor = (*cursor).min(place);
    }

    /// Time passes.
    fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.budget.tick(self.now_ms);
        self.spool.tick(self.now_ms);
        for lane in Lane::ALL {
            let due_ms = self.spool.due_ms(lane, self.commit_age_ms(lane));
            if due_ms.is_some_and(|due_ms| due_ms <= self.now_ms) {
                self.spool.commit_lane(lane);
            }
        }
        let dirty_since_ms = self.state_dirty_since_ms.unwrap_or(self.now_ms);
        self.state_dirty_since_ms = self.spool.is_dirty().then_some(dirty_since_ms);
        let due_ms = dirty_since_ms.saturating_add(self.config.state_lazy_ms);
        if self.spool.is_dirty() && due_ms <= self.now_ms {
            self.spool.write_book();
            self.state_dirty_since_ms = None;
        }
        let stale_since_ms = self.state_stale_since_ms.unwrap_or(self.now_ms);
        self.state_stale_since_ms = self.spool.is_stale().then_some(stale_since_ms);
        if stale_since_ms.saturating_add(self.config.state_rare_ms) <= self.now_ms {
            self.spool.write_book();
            self.state_stale_since_ms = None;
        }
        if self.spool.is_in_ram() && self.disk_retry_ms <= self.now_ms {
            self.spool.try_return_to_disk();
            self.disk_retry_ms = self.now_ms.saturating_add(self.config.disk_retry_ms);
        }
        if self.room_ms <= self.now_ms {
            let is_possible = self.spool.prepare_room().is_ok();
            let pause_ms = if is_possible { ROOM_MS } else { ROOM_FULL_MS };
            self.room_ms = self.now_ms.saturating_add(pause_ms);
        }
        let waits = self.main.awaiting_count() + self.alert.awaiting_count() > 0;
        let central = self.config.ack_level == AckLevel::Central;
        self.silence.note_waiting(self.now_ms, waits && central);
        if self.silence.falls_silent(self.now_ms) {
            let seconds = self.config.centre_silent_ms / 1_000;
            let text = format!("the centre has acknowledged nothing for {seconds} s");
            self.alarms.raise(AlarmKind::CentreSilent, text);
        }
        self.hear_spool();
    }

    /// Makes alarms of what happened in the spool.
    fn hear_spool(&mut self) {
        for event in self.spool.take_events() {
            match event {
                SpoolEvent::Degraded(why) => {
                    let text = format!("the spool's disk cannot be used, frames are in RAM: {why}");
                    self.alarms.raise(AlarmKind::SpoolDegraded, text);
                }
                SpoolEvent::Recovered => {
                    let text = "the spool's disk can be used again";
                    self.alarms.clear(AlarmKind::SpoolDegraded, text);
                }
                SpoolEvent::Newer { folder, version } => {
                    let text = format!(
                        "{folder} is a spool of version {version}; it stays as it is until a later program drains it"
                    );
                    self.alarms.raise(AlarmKind::SpoolNewer, text);
                }
                SpoolEvent::Corrupt { place, numbers } => {
                    let text = format!("damage in {place}; {numbers} records are lost by it");
                    self.alarms.raise(AlarmKind::SpoolCorrupt, text);
                }
                SpoolEvent::Evicted { lane, numbers } => {
                    let text = format!("the {lane} spool is full; {numbers} old records made room");
                    self.alarms.raise(AlarmKind::Evicting, text);
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
