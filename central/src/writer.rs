//! The thread that owns the database.
//!
//! Promises: publishes that come together share one commit; the broker and the devices hear of it after
//! the commit, in that order; when the database cannot take data nothing is acknowledged, an ERROR says so
//! once, and the same publishes are tried again until it can. Never: two threads in one database, a
//! publish acknowledged before its commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::clock;
use crate::committer::{Committer, Delivery, Place};
use crate::desk::Vitals;
use crate::ingest::{Answer, Sink, SinkError};

/// A group is committed at this size without further waiting: below the window of every broker that keeps
/// at least this many publishes in flight, far above what one fsync should carry alone.
const GROUP_MAX: usize = 64;
/// ... or at this many bytes, so that a group of large frames stays a short transaction.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Retention looks for work so often.
const EXPIRE_EVERY_MS: u64 = 60_000;
/// Gaps are looked for so often.
const GAPS_EVERY_MS: u64 = 1_000;
/// Without anything to do the thread looks around so often.
const IDLE_MS: u64 = 1_000;
/// Dating that failed is tried again so much later; ingest goes on meanwhile.
const DATE_RETRY_MS: u64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// The ends of the channels that the writer holds.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) inbox: Receiver<Delivery>,
    /// Up to which publish everything is committed.
    pub(crate) acked: watch::Sender<Place>,
    pub(crate) said: mpsc::Sender<Answer>,
    /// Closed when the process stops.
    pub(crate) stop: Receiver<()>,
    pub(crate) vitals: Arc<Vitals>,
}

/// How the writer works.
#[derive(Debug, Clone)]
pub(crate) struct WriterConfig {
    pub(crate) commit_ms_max: u64,
    pub(crate) retention_days: u32,
    /// Where the state of the centre is told to whoever listens.
    pub(crate) state_topic: String,
    /// A database that takes no data is tried again after so long.
    pub(crate) retry_ms_min: u64,
    pub(crate) retry_ms_max: u64,
    pub(crate) jitter_seed: u64,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer<S> {
    committer: Committer<S>,
    config: WriterConfig,
    channels: Channels,
    retry: Backoff,
    expired_at_ms: Option<u64>,
    date_after_ms: u64,
    answers_dropped: u64,
    gaps_at_ms: u64,
}

impl<S: Sink> Writer<S> {
    pub(crate) fn new(committer: Committer<S>, config: WriterConfig, channels: Channels) -> Self {
        Self {
            committer,
            retry: Backoff::new(config.retry_ms_min, config.retry_ms_max, config.jitter_seed),
            config,
            channels,
            expired_at_ms: None,
            date_after_ms: 0,
            answers_dropped: 0,
            gaps_at_ms: 0,
        }
    }

    /// Works until the inbox is closed and everything in it is committed, or the process stops while the
    /// database cannot take data.
    pub(crate) fn run(mut self) {
        if let Err(error) = self.committer.resume(clock::utc_ms()) {
            tracing::error!(%error, "work that an earlier run left cannot be taken up");
        }
        loop {
            let (group, is_closed) = self.gather();
            let backlog = self.channels.inbox.len();
            self.channels
                .vitals
                .backlog
                .store(backlog, Ordering::Relaxed);
            if !group.is_empty() && !self.commit(&group) {
                tracing::warn!(
                    publishes = group.len(),
                    "stopping with publishes that are not committed; the broker keeps them"
                );
                return;
            }
            self.watch_gaps();
            self.say();
            if is_closed {
                return;
            }
            if group.is_empty() {
                self.upkeep();
            }
        }
    }

    /// Publishes that come together, and whether these were the last.
    fn gather(&self) -> (Vec<Delivery>, bool) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let start_ms = clock::monotonic_ms();
        let mut wait_ms = self.idle_ms(start_ms);
        loop {
            match self
                .channels
                .inbox
                .recv_timeout(Duration::from_millis(wait_ms))
            {
                Ok(delivery) => {
                    bytes += delivery.payload.len();
                    group.push(delivery);
                }
                Err(RecvTimeoutError::Timeout) => return (group, false),
                Err(RecvTimeoutError::Disconnected) => return (group, true),
            }
            let left_ms = match group.len() {
                1 => self.config.commit_ms_max,
                _ => (start_ms + self.config.commit_ms_max).saturating_sub(clock::monotonic_ms()),
            };
            if group.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX || left_ms == 0 {
                return (group, false);
            }
            // A pause in the stream means that waiting longer gathers nothing.
            wait_ms = left_ms.min(self.config.commit_ms_max.div_ceil(4));
        }
    }

    fn idle_ms(&self, now_ms: u64) -> u64 {
        if self.dates_rows(now_ms) {
            return 0;
        }
        self.committer
            .deadline(now_ms)
            .map_or(IDLE_MS, |at| at.saturating_sub(now_ms))
            .min(IDLE_MS)
    }

    /// Commits the group, however long that takes; `false` when the process stops first.
    fn commit(&mut self, group: &[Delivery]) -> bool {
        let mut is_stalled = false;
        loop {
            match self.committer.commit(clock::utc_ms(), group) {
                Ok(()) => break,
                Err(error) => {
                    if !is_stalled {
                        tracing::error!(%error, "the database takes no data: nothing is acknowledged until it does");
                        is_stalled = true;
                        self.channels
                            .vitals
                            .is_stalled
                            .store(true, Ordering::Relaxed);
                    }
                    self.tell_state("stalled", &error);
                    let wait = Duration::from_millis(self.retry.next_ms());
                    // The stop channel carries nothing; it only closes.
                    if self.channels.stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                        return false;
                    }
                }
            }
        }
        if is_stalled {
            self.retry.reset();
            self.channels
                .vitals
                .is_stalled
                .store(false, Ordering::Relaxed);
            tracing::info!("the database takes data again");
            self.tell_state("running", &SinkError::Unavailable(String::new()));
        }
        if let Some(last) = group.last() {
            self.channels.acked.send_replace(last.place);
        }
        true
    }

    fn say(&mut self) {
        match self.committer.answers(clock::monotonic_ms()) {
            Ok(answers) => answers.into_iter().for_each(|answer| self.send(answer)),
            Err(error) => tracing::warn!(%error, "acknowledgements wait for the database"),
        }
    }

    /// An answer that finds no room is dropped: the device asks again.
    fn send(&mut self, answer: Answer) {
        if self.channels.said.try_send(answer).is_err() {
            self.answers_dropped += 1;
            tracing::debug!(dropped = self.answers_dropped, "no room for an answer");
        }
    }

    fn tell_state(&mut self, state: &str, error: &SinkError) {
        let payload = serde_json::json!({ "state": state, "detail": error.to_string() });
        let topic = self.config.state_topic.clone();
        let payload = payload.to_string().into_bytes();
        self.send(Answer { topic, payload });
    }

    fn watch_gaps(&mut self) {
        let now_ms = clock::monotonic_ms();
        if now_ms >= self.gaps_at_ms.saturating_add(GAPS_EVERY_MS) {
            self.gaps_at_ms = now_ms;
            self.committer.watch_gaps(now_ms);
        }
    }

    fn upkeep(&mut self) {
        let now_ms = clock::monotonic_ms();
        if self.dates_rows(now_ms)
            && let Err(error) = self.committer.date_rows()
        {
            tracing::warn!(%error, "rows wait for their UTC");
            self.date_after_ms = now_ms + DATE_RETRY_MS;
        }
        let is_due = self
            .expired_at_ms
            .is_none_or(|at| now_ms >= at.saturating_add(EXPIRE_EVERY_MS));
        if self.config.retention_days > 0 && is_due {
            let age_ms = i64::from(self.config.retention_days).saturating_mul(DAY_MS);
            match self
                .committer
                .expire_step(clock::utc_ms().saturating_sub(age_ms))
            {
                // More of the same at the next quiet moment.
                Ok(true) => {}
                Ok(false) => self.expired_at_ms = Some(now_ms),
                Err(error) => {
                    tracing::warn!(%error, "old readings cannot be deleted");
                    self.expired_at_ms = Some(now_ms);
                }
            }
        }
    }

    fn dates_rows(&self, now_ms: u64) -> bool {
        self.committer.has_upkeep() && now_ms >= self.date_after_ms
    }
}

#[cfg(test)]
mod tests;
