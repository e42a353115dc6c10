//! The pipeline: score, alert, seal, deliver, in one thread and in this order.
//!
//! Promises: an alert is durable before the reading after the one that caused it is looked at; a batch is
//! closed in time and on link up, so that the newest readings go first; every number that comes in is sealed
//! or on record as lost; when an input says that the supply is gone, everything is sealed and made durable at
//! once. Never: a clock, a wait.

use firmware_shared::alert::{Alert, Severity};
use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::reading::{Reading, Value};
use firmware_shared::time::{ClockSource, TimeAnchor};

use super::seen::SeenSensor;
use super::{alarm, health};
use crate::alert::{self, Alarm, AlarmPhase, AlertDesk, DeskMemory, Event};
use crate::clock::{Now, StampClock};
use crate::config::{Config, POWER_GOOD_ROLE, Quantity, SealConfig};
use crate::deliver::{Deliver, DeliverStats, ProcessIdentity, black_box};
use crate::forward::link::{Connection, LinkCommand, LinkEvent};
use crate::score::Scorer;
use crate::seal::{Sealed, Sealer};
use crate::sequencer::{Intake, QUEUE_COUNT_MAX, Sampled};
use crate::spool::Frame;
use crate::status::Memory;
use crate::timekeeper::Timekeeper;
use crate::trip::{Answer, Origin, TripDesk};

const DAY_MS: i64 = 86_400_000;

/// Everything between the samplers and the link.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) identity: ProcessIdentity,
    pub(super) deliver: Deliver,
    pub(super) desk: AlertDesk,
    pub(super) keeper: Timekeeper,
    pub(super) seen: Vec<SeenSensor>,
    pub(super) started_real_ms: u64,
    pub(super) lost: u64,
    pub(super) health_next_seq: u64,
    pub(super) scorer: Scorer,
    telemetry: Sealer,
    health: Sealer,
    health_period_ms: u64,
    health_due_real_ms: u64,
    /// The first stamp that no report has used.
    health_stamp_ms: u64,
    sealed: Vec<Sealed>,
    /// The inputs that say whether the supply is good, and whether it was when they last spoke.
    power: Vec<u8>,
    is_power_good: bool,
    expired_calibrations: usize,
    pub(super) trip: TripDesk,
    /// What is known of the trip has changed since it was last written down.
    is_trip_fresh: bool,
    /// What is told has changed since it was last written down.
    is_desk_fresh: bool,
    /// Alerts for the people on the vehicle.
    told: Vec<Alert>,
    /// A connection has come up: the open batch goes out as soon as the birth has been said.
    is_link_fresh: bool,
}

fn power_inputs(config: &Config) -> Vec<u8> {
    let power = config
        .sensors()
        .filter(|sensor| sensor.quantity == Quantity::Input && sensor.role == POWER_GOOD_ROLE);
    power.map(|sensor| sensor.index).collect()
}

impl Pipeline {
    /// A pipeline for a process; the opening of its epoch is the first thing in it.
    #[must_use]
    pub fn new(config: &Config, identity: ProcessIdentity, deliver: Deliver, now: Now) -> Self {
        let stream = |lane| StreamId {
            epoch: identity.epoch,
            lane,
        };
        let device = identity.device.clone();
        // A report is a batch of its own.
        let report = SealConfig {
            count_max: health::REPORT_COUNT,
            age_ms_max: 0,
        };
        let mut pipeline = Self {
            desk: AlertDesk::with_score(
                device,
                identity.epoch,
                config.sensors(),
                config.detector.alert_score,
                now,
            )
            .with_buses(&config.buses),
            keeper: Timekeeper::default(),
            seen: config.sensors().map(SeenSensor::new).collect(),
            started_real_ms: now.real_ms,
            lost: 0,
            health_next_seq: 1,
            scorer: Scorer::new(config.sensors()),
            telemetry: Sealer::new(stream(Lane::Telemetry), config.seal),
            health: Sealer::new(stream(Lane::Health), report),
            health_period_ms: config.health.period_ms,
            health_due_real_ms: now.real_ms.saturating_add(config.health.period_ms),
            health_stamp_ms: 0,
            sealed: Vec::new(),
            power: power_inputs(config),
            is_power_good: true,
            expired_calibrations: 0,
            trip: TripDesk::new(config.sensors()),
            is_trip_fresh: false,
            is_desk_fresh: false,
            told: Vec::new(),
            is_link_fresh: false,
            identity,
            deliver,
        };
        pipeline
            .sealed
            .extend(health::opening(&pipeline.identity, now.stamp_ms));
        pipeline
    }

    fn stream(&self, lane: Lane) -> StreamId {
        StreamId {
            epoch: self.identity.epoch,
            lane,
        }
    }

    /// Takes what waits, at most a full queue at a time, so that nothing stays unsealed for long.
    pub fn drain(&mut self, now: Now, intake: &mut Intake) {
        for _ in 0..QUEUE_COUNT_MAX {
            match intake.receiver().try_recv() {
                Ok(Sampled::Reading { seq, reading }) => {
                    if let Some(gap) = intake.admit(seq) {
                        self.lose(gap);
                    }
                    self.reading(now, seq, reading);
                }
                Ok(Sampled::Anchor(anchor)) => self.anchor(now, anchor),
                Ok(Sampled::Bus(report)) => {
                    self.desk.bus(now, report);
                    self.tell(now);
                }
                Err(_) => break,
            }
        }
        if let Some(tail) = intake.take_tail() {
            self.lose(tail);
        }
    }

    fn reading(&mut self, now: Now, seq: u64, mut reading: Reading) {
        let verdict = self.scorer.step(&reading);
        reading.score = verdict.score;
        if let Some(seen) = self
            .seen
            .iter_mut()
            .find(|seen| seen.index() == reading.sensor)
        {
            seen.note(&reading, &verdict);
        }
        self.telemetry
            .push(seq, reading, self.keeper.best(), &mut self.sealed);
        self.desk.reading(now, seq, &reading, &verdict);
        if let Value::State(state) = reading.value
            && self.power.contains(&reading.sensor)
        {
            self.power_is(now, state != 0);
        }
        self.tell(now);
    }

    /// When the supply goes, what was measured must not wait for its batch to fill.
    fn power_is(&mut self, now: Now, good: bool) {
        if good == self.is_power_good {
            return;
        }
        self.is_power_good = good;
        let (phase, text) = match good {
            true => (AlarmPhase::Ends, "the supply is back"),
            false => (
                AlarmPhase::Begins,
                "the supply is gone; what is measured is kept",
            ),
        };
        self.desk.alarm(
            now,
            Alarm {
                kind: "power_lost",
                phase,
                severity: Severity::Warning,
                text: text.to_owned(),
            },
        );
        if !good {
            tracing::warn!("the supply is gone");
            self.telemetry.close(self.keeper.best(), &mut self.sealed);
            self.store(now);
            self.deliver.sync(now.real_ms);
        }
    }

    /// Numbers that were issued and will never come.
    fn lose(&mut self, range: SeqRange) {
        self.lost = self.lost.saturating_add(range.count());
        self.deliver
            .lose(self.stream(Lane::Telemetry), range, LossReason::Evicted);
    }

    fn anchor(&mut self, now: Now, anchor: TimeAnchor) {
        if let Some(best) = self.keeper.consider(anchor) {
            self.desk.anchor(best);
            if best.source != ClockSource::Fake {
                self.scorer.utc(now.stamp_ms, best.utc_ms_of(now.stamp_ms));
            }
            self.deliver.anchor(best);
            self.check_calibrations(now, best.utc_ms_of(now.stamp_ms));
        }
    }

    /// Says once which calibrations no longer count; their values go on.
    fn check_calibrations(&mut self, now: Now, utc_ms: i64) {
        let day = utc_ms.div_euclid(DAY_MS);
        let entries = &self.identity.catalogue;
        let expired: Vec<&str> = self
            .identity
            .details
            .0
            .iter()
            .filter(|detail| {
                detail
                    .calibration_until_day
                    .is_some_and(|last| i64::from(last) < day)
            })
            .filter_map(|detail| Some(entries.sensor(detail.index)?.name.as_str()))
            .collect();
        if expired.len() == self.expired_calibrations {
            return;
        }
        self.expired_calibrations = expired.len();
        let text = format!(
            "the calibration is out of date: {}; their values are told all the same",
            expired.join(", ")
        );
        let alarm = Alarm {
            kind: "calibration_expired",
            phase: AlarmPhase::Begins,
            severity: Severity::Diagnostic,
            text,
        };
        self.desk.alarm(now, alarm);
        self.tell(now);
    }

    /// Takes what the link tells.
    pub fn link(&mut self, now: Now, event: LinkEvent) {
        if let LinkEvent::Connected(session) = &event
            && session.connection == Connection::Main
        {
            self.is_link_fresh = true;
        }
        if let LinkEvent::Profile { payload } = &event {
            let answer = self.profile(now, Origin::Centre, payload);
            tracing::info!(?answer, "a profile from the centre");
        }
        self.deliver.handle(now.real_ms, event);
    }

    /// To be called when the queue is drained: closes what is old, reports, makes durable what is due.
    /// `next_seq` is the number that the next reading gets.
    pub fn turn(&mut self, now: Now, next_seq: u64, memory: impl FnOnce() -> Memory) {
        self.telemetry
            .close_old(now.stamp_ms, self.keeper.best(), &mut self.sealed);
        if self.deliver.is_commit_due(now.real_ms, Lane::Telemetry) {
            // What is open costs no write of its own when it goes with the others.
            self.telemetry.close(self.keeper.best(), &mut self.sealed);
        }
        if self.health_due_real_ms <= now.real_ms {
            self.health_due_real_ms = now.real_ms.saturating_add(self.health_period_ms);
            self.report(now, memory().rss_bytes);
        }
        self.deliver.note_next_seq(Lane::Telemetry, next_seq);
        self.store(now);
        self.deliver.commit_due(now.real_ms);
        self.turn_trip(now);
        self.desk.tick(now);
        for alarm in self.deliver.take_alarms() {
            self.desk.alarm(now, alarm::translate(alarm));
        }
        self.tell(now);
    }

    fn report(&mut self, now: Now, rss_bytes: u64) {
        let first_ms = now.stamp_ms.max(self.health_stamp_ms);
        let readings = health::report(first_ms, &self.deliver.stats(), rss_bytes, self.lost);
        self.health_stamp_ms = first_ms.saturating_add(readings.len() as u64);
        for reading in readings {
            let seq = self.health_next_seq;
            self.health_next_seq += 1;
            self.health
                .push(seq, reading, self.keeper.best(), &mut self.sealed);
        }
    }

    /// Hands every sealed frame to delivery.
    fn store(&mut self, now: Now) {
        self.deliver
            .note_next_seq(Lane::Health, self.health_next_seq);
        for sealed in self.sealed.drain(..) {
            match sealed {
                Sealed::Frame(frame) => self.deliver.accept(now.real_ms, frame),
                Sealed::Refused(stream, range, error) => {
                    tracing::error!(?stream, %range, ?error, "a batch could not be sealed");
                    self.lost = self.lost.saturating_add(range.count());
                    self.deliver.lose(stream, range, LossReason::Corrupt);
                }
            }
        }
    }

    /// Hands every alert to delivery, which makes it durable at once.
    fn tell(&mut self, now: Now) {
        let alerts = self.desk.take();
        if alerts.is_empty() {
            return;
        }
        self.is_desk_fresh = true;
        let stream = self.stream(Lane::Alert);
        self.deliver
            .note_next_seq(Lane::Alert, self.desk.next_seq());
        for alert in alerts {
            let Some(range) = SeqRange::from_count(alert.seq, 1) else {
                continue;
            };
            if let Some((stream, window)) = black_box(&alert) {
                // What was measured before goes out as it is; what comes is sealed in its time.
                self.telemetry.close(self.keeper.best(), &mut self.sealed);
                self.deliver.promote(stream, window);
            }
            match alert::to_json(&alert) {
                Some(bytes) => self.deliver.accept(
                    now.real_ms,
                    Frame {
                        stream,
                        range,
                        bytes,
                    },
                ),
                None => {
                    tracing::error!(seq = alert.seq, "an alert is longer than an alert may be");
                    self.deliver.lose(stream, range, LossReason::Corrupt);
                }
            }
            self.told.push(alert);
        }
    }

    /// The alerts of which the people on the vehicle have not heard.
    pub fn take_told(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.told)
    }

    /// The alerts that are open.
    #[must_use]
    pub fn standing_alerts(&self) -> Vec<Alert> {
        self.desk.open().cloned().collect()
    }

    /// Takes a profile of a trip, or says why not.
    pub fn profile(&mut self, now: Now, origin: Origin, text: &[u8]) -> Answer {
        let answer = self.trip.offer(self.utc_ms(now), origin, text);
        let told = match &answer {
            Answer::Accepted { version, text, .. } => {
                let kind = ("profile", Severity::Diagnostic);
                Some((kind, Some(*version), text.clone()))
            }
            Answer::Refused { version, text } => {
                let kind = ("profile_refused", Severity::Warning);
                Some((kind, *version, format!("a profile is refused: {text}")))
            }
            Answer::Known { .. } => None,
        };
        if let Answer::Accepted { in_force, .. } = answer {
            self.is_trip_fresh = true;
            if in_force {
                self.use_trip();
            }
        }
        if let Some((kind, profile_version, text)) = told {
            self.tell_of_profile(now, kind, profile_version, text);
        }
        answer
    }

    /// What the gateway knows about UTC, unless nobody vouches for it.
    fn utc_ms(&self, now: Now) -> Option<i64> {
        let anchor = self.keeper.best();
        let anchor = anchor.filter(|anchor| anchor.source > ClockSource::Fake);
        anchor.map(|anchor| anchor.utc_ms_of(now.stamp_ms))
    }

    fn use_trip(&mut self) {
        let current = self.trip.current();
        let set_points = current.map_or(Vec::new(), |trip| trip.set_points.clone());
        self.scorer.set_points(set_points);
        let load_id = current.and_then(|trip| trip.load_id.as_deref());
        let version = current.map(|trip| trip.version);
        let trip = &self.trip;
        self.desk
            .trip(load_id, version, |index| trip.limits_of(index));
    }

    fn tell_of_profile(
        &mut self,
        now: Now,
        (kind, severity): (&'static str, Severity),
        profile_version: Option<u64>,
        text: String,
    ) {
        self.desk.event(
            now,
            Event {
                kind,
                severity,
                text,
                profile_version,
            },
        );
        self.tell(now);
    }

    fn turn_trip(&mut self, now: Now) {
        if !self.trip.turn(self.utc_ms(now)) {
            return;
        }
        self.is_trip_fresh = true;
        self.use_trip();
        let version = self.trip.current().map(|trip| trip.version);
        let text = format!("profile {} is in force", version.unwrap_or_default());
        self.tell_of_profile(now, ("profile", Severity::Diagnostic), version, text);
    }

    /// The profiles, when they have changed since the last call.
    pub fn trip_memory(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_trip_fresh).then(|| self.trip.keep())
    }

    /// Goes on with the profiles of an earlier process.
    pub fn restore_trip(&mut self, now: Now, bytes: &[u8]) {
        let restored = self.trip.restore(bytes);
        self.use_trip();
        if let Err(reason) = restored {
            tracing::warn!(reason, "a profile cannot be used any more");
            let text = format!("a profile cannot be used any more: {reason}");
            let kind = ("profile_lost", Severity::Warning);
            self.tell_of_profile(now, kind, None, text);
        }
    }

    /// What is told and not closed, when that has changed since the last call.
    pub fn desk_memory(&mut self, now: Now) -> Option<DeskMemory> {
        std::mem::take(&mut self.is_desk_fresh).then(|| self.desk.keep(now))
    }

    /// Goes on with what an earlier process told.
    pub fn restore_desk(&mut self, now: Now, memory: DeskMemory) {
        self.desk.restore(now, memory);
        self.tell(now);
    }

    /// What the link is to do next.
    pub fn poll(&mut self, now: Now) -> Option<LinkCommand> {
        if let Some(command) = self.deliver.poll(now.real_ms) {
            return Some(command);
        }
        if !std::mem::take(&mut self.is_link_fresh) {
            return None;
        }
        // The birth is out: what was measured last goes ahead of everything that waited.
        self.telemetry.close(self.keeper.best(), &mut self.sealed);
        self.store(now);
        self.deliver.poll(now.real_ms)
    }

    /// When `turn` and `poll` should be called again if nothing happens before, CLOCK_BOOTTIME ms.
    #[must_use]
    pub fn deadline_real_ms(&self, clock: &StampClock) -> u64 {
        let (alert_stamp_ms, alert_real_ms) = self.desk.deadlines();
        let stamps = [self.telemetry.deadline_stamp_ms(), alert_stamp_ms];
        let stamps = stamps
            .into_iter()
            .flatten()
            .map(|stamp_ms| clock.real_ms(stamp_ms));
        let real = [
            self.deliver.deadline(),
            alert_real_ms,
            Some(self.health_due_real_ms),
        ];
        let earliest = real.into_iter().flatten().chain(stamps).min();
        earliest.unwrap_or(self.health_due_real_ms)
    }

    /// A clean stop: closes every batch and makes everything durable; the numbers are final.
    pub fn stop(&mut self, now: Now, next_seq: u64, memory: Memory) {
        self.report(now, memory.rss_bytes);
        self.telemetry.close(self.keeper.best(), &mut self.sealed);
        self.deliver.note_next_seq(Lane::Telemetry, next_seq);
        self.store(now);
        self.deliver.sync(now.real_ms);
        self.deliver.close(now.real_ms);
    }

    /// Whether a clean stop has nothing more to say.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.deliver.is_closed()
    }

    /// How delivery is doing.
    #[must_use]
    pub fn stats(&self) -> DeliverStats {
        self.deliver.stats()
    }
}

#[cfg(test)]
mod tests;
