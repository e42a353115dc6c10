//! The thread that owns the desk: it feeds the core, commits what it says, and tells whoever waits.
//!
//! Promises: nothing is told before it is committed; when the desk's file takes no data the thread waits for it
//! and takes nothing more. Never: two threads that judge.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, bounded};

use super::core::{Command, Core, CoreConfig, Now, OrderError, Outcome, Pulse};
use super::groups::Groups;
use super::handle::{Desk, Order, Reply};
use super::item::AlertItem;
use super::ring::Shared;
use super::send::{self, Ended, Place, Senders};
use super::store::{Change, Reader, Store, StoreError};
use super::tap::{Committed, Tap, Vitals};
use super::{Feed, FeedError};
use crate::clock;
use crate::config::{Config, Route};

/// Commits between ingest and the desk: many seconds of a large fleet.
const COMMITS_MAX: usize = 4_096;
/// Orders of people that wait.
const ORDERS_MAX: usize = 64;
/// Alerts that are taken in one transaction.
const FEED_MAX: usize = 256;
/// Commits that are taken in one transaction.
const TURN_MAX: usize = 256;
/// Without a word of ingest the main database is looked at so often.
const FEED_EVERY_MS: u64 = 1_000;
/// Another process' commands are looked for so often.
const WAIT_MS_MAX: i64 = 200;
/// What the desk's file did not take is tried again after so long.
const RETRY: Duration = Duration::from_millis(500);

/// A desk that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) desk: Desk,
    pub(crate) tap: Tap,
    pub(crate) thread: JoinHandle<()>,
    /// Dropped to stop it.
    pub(crate) stop: Sender<()>,
}

/// Opens the desk's file and starts the thread; `ended` is called when the thread ends.
///
/// # Errors
/// When the file or the main database cannot be used.
pub(crate) fn start(
    config: &Config,
    place: &Place,
    feed: Box<dyn Feed>,
    ended: impl FnOnce() + Send + 'static,
) -> anyhow::Result<Running> {
    let (commits_in, commits) = bounded(COMMITS_MAX);
    let (orders_in, orders) = bounded(ORDERS_MAX);
    let (stop_in, stop) = bounded(0);
    let vitals = Arc::new(Vitals::default());
    let (attempts_in, attempts) = bounded(send::ended_max(config.routes.len()));
    let seed = clock::random_u64().context("the operating system gives no random numbers")?;
    let senders = send::start(&config.routes, place, seed, attempts_in)?;
    let channels = Channels {
        commits,
        orders,
        attempts,
        stop,
    };
    let ways = Ways { senders, seed };
    let mut worker = Worker::open(config, feed, channels, ways, Arc::clone(&vitals))?;
    let desk = Desk {
        shared: Arc::clone(&worker.shared),
        reader: Arc::new(Reader::open(&config.desk.path)?),
        orders: orders_in,
        file: config.desk.path.as_path().into(),
    };
    let thread = std::thread::Builder::new()
        .name("desk".to_owned())
        .spawn(move || {
            let _ended = Over(Some(ended));
            worker.run();
        })?;
    Ok(Running {
        desk,
        tap: Tap {
            commits: commits_in,
            vitals,
        },
        thread,
        stop: stop_in,
    })
}

/// Tells of the end, a panic included.
struct Over<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Over<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended();
        }
    }
}

struct Channels {
    commits: Receiver<Committed>,
    orders: Receiver<Order>,
    attempts: Receiver<Ended>,
    stop: Receiver<()>,
}

/// How routes are told, and what spreads their retries.
#[derive(Debug)]
struct Ways {
    senders: Senders,
    seed: u64,
}

struct Worker {
    desk: crate::config::Desk,
    groups: Groups,
    routes: Vec<Route>,
    ways: Ways,
    store: Store,
    core: Core,
    feed: Box<dyn Feed>,
    shared: Arc<Shared>,
    vitals: Arc<Vitals>,
    channels: Channels,
    cursor: i64,
    /// Alerts up to here were there before the desk: nobody is called about them.
    history: i64,
    feed_due_ms: u64,
    feed_failed: bool,
    data_version: i64,
    replies: Vec<(Reply, Result<Option<AlertItem>, OrderError>)>,
}

fn now() -> Now {
    Now {
        mono_ms: i64::try_from(clock::monotonic_ms()).unwrap_or(i64::MAX),
        utc_ms: clock::utc_ms(),
    }
}

/// A core that goes on where the file stands.
fn core(
    store: &Store,
    desk: &crate::config::Desk,
    groups: &Groups,
    routes: &[Route],
    seed: u64,
    feed: &str,
) -> Result<Core, StoreError> {
    let now = now();
    let window_s = desk.mute_s.max(desk.collapse_s);
    let items = store.items_since(now.utc_ms - i64::from(window_s) * 1_000)?;
    let config = CoreConfig {
        desk: desk.clone(),
        groups: groups.clone(),
        routes: routes.to_vec(),
        seed,
        feed: feed.to_owned(),
        next_event: store.next_id("event")?,
        next_owed: store.next_id("outbox")?,
    };
    Ok(Core::new(config, now, items))
}

/// Where a feed goes on, and what of it is history.
fn places(store: &Store, feed: &mut dyn Feed) -> anyhow::Result<(i64, i64)> {
    let name = feed.name();
    let last = feed.last()?;
    let history = store.cursor(&format!("{name} history"))?;
    let cursor = match store.cursor(&name)? {
        Some(cursor) => Some(cursor),
        // Other buckets than before: nothing is taken twice, as items know their transitions.
        None => store.cursor_least()?,
    };
    Ok(match cursor {
        // After a restore of the main database its places begin again below.
        Some(cursor) => (cursor.min(last), history.unwrap_or(0).min(last)),
        None => (0, last),
    })
}

impl Worker {
    fn open(
        config: &Config,
        mut feed: Box<dyn Feed>,
        channels: Channels,
        ways: Ways,
        vitals: Arc<Vitals>,
    ) -> anyhow::Result<Self> {
        let mut store = Store::open(&config.desk.path)?;
        let (cursor, history) =
            places(&store, feed.as_mut()).context("the desk cannot read the main database")?;
        let name = feed.name();
        store.apply(&[
            Change::Cursor {
                feed: name.clone(),
                n: cursor,
            },
            Change::Cursor {
                feed: format!("{name} history"),
                n: history,
            },
        ])?;
        let groups = Groups::new(&config.groups);
        let core = core(
            &store,
            &config.desk,
            &groups,
            &config.routes,
            ways.seed,
            &name,
        )?;
        let shared = Arc::new(Shared::new(store.next_id("event")? - 1));
        let mut worker = Self {
            desk: config.desk.clone(),
            groups,
            routes: config.routes.clone(),
            ways,
            core,
            feed,
            shared,
            vitals,
            channels,
            cursor,
            history,
            feed_due_ms: 0,
            feed_failed: false,
            data_version: 0,
            replies: Vec::new(),
            store,
        };
        worker.learn()?;
        Ok(worker)
    }

    fn learn(&mut self) -> Result<(), FeedError> {
        for known in self.feed.vehicles()? {
            self.core.knows(known);
        }
        self.shared.set_vehicles(self.core.take_vehicles());
        Ok(())
    }

    fn run(&mut self) {
        loop {
            self.wait();
            let is_stopping = self.is_stopping();
            if let Err(error) = self.turn() {
                tracing::error!(%error, "the desk cannot read its file; it begins again from it");
                if !self.begin_again() {
                    return;
                }
            } else if !self.commit() {
                return;
            } else if let Err(error) = self.act() {
                tracing::error!(%error, "what is owed cannot be read");
            }
            if is_stopping && self.channels.commits.is_empty() {
                return;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.channels.stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    fn wait(&self) {
        let left_ms = self.core.deadline().saturating_sub(now().mono_ms);
        let wait_ms = left_ms.clamp(0, WAIT_MS_MAX).unsigned_abs();
        let mut select = Select::new();
        select.recv(&self.channels.commits);
        select.recv(&self.channels.orders);
        select.recv(&self.channels.attempts);
        select.recv(&self.channels.stop);
        // Whether something is there or the time is over, the turn looks at everything.
        select.ready_timeout(Duration::from_millis(wait_ms)).ok();
    }

    /// Everything that is there, once.
    fn turn(&mut self) -> Result<(), StoreError> {
        let now = now();
        self.core.pulse(now, self.pulse(), &self.store)?;
        let commits: Vec<Committed> = self.channels.commits.try_iter().take(TURN_MAX).collect();
        let mut has_alerts = false;
        for commit in commits {
            has_alerts |= commit.has_alerts;
            for heard in commit.heard {
                self.core.heard(now, heard, &self.store)?;
            }
        }
        let mono_ms = now.mono_ms.unsigned_abs();
        if has_alerts || mono_ms >= self.feed_due_ms {
            self.read_feed(now, mono_ms)?;
        }
        for ended in self.channels.attempts.try_iter() {
            self.core
                .attempted(now, ended.route, ended.id, ended.outcome);
        }
        let orders: Vec<Order> = self.channels.orders.try_iter().collect();
        for Order { command, reply } in orders {
            let result = self.core.order(now, &command, &self.store);
            self.replies.push((reply, result));
        }
        self.commands(now)?;
        self.core.poll(now, &self.store)
    }

    fn pulse(&self) -> Pulse {
        let vitals = &self.vitals;
        let has_missed = vitals.has_missed.swap(false, Ordering::Relaxed);
        Pulse {
            is_connected: vitals.is_connected.load(Ordering::Relaxed),
            is_stalled: vitals.is_stalled.load(Ordering::Relaxed) || has_missed,
            backlog: vitals.backlog.load(Ordering::Relaxed),
        }
    }

    fn read_feed(&mut self, now: Now, mono_ms: u64) -> Result<(), StoreError> {
        let alerts = match self.feed.alerts_behind(self.cursor, FEED_MAX) {
            Ok(alerts) => alerts,
            Err(error) => {
                if !self.feed_failed {
                    tracing::warn!(%error, "the desk waits for the main database");
                }
                self.feed_failed = true;
                self.feed_due_ms = mono_ms + FEED_EVERY_MS;
                return Ok(());
            }
        };
        self.feed_failed = false;
        // A full hand means that there is more.
        self.feed_due_ms = match alerts.len() {
            FEED_MAX => mono_ms,
            _ => mono_ms + FEED_EVERY_MS,
        };
        for fed in &alerts {
            self.core
                .fed(now, fed, fed.n <= self.history, &self.store)?;
        }
        if let Some(last) = alerts.last() {
            self.cursor = last.n;
            self.core.advance(last.n);
        }
        Ok(())
    }

    /// What other processes ask for.
    fn commands(&mut self, now: Now) -> Result<(), StoreError> {
        let version = self.store.data_version()?;
        if version == self.data_version {
            return Ok(());
        }
        self.data_version = version;
        for (id, body) in self.store.commands()? {
            let result = match serde_json::from_str::<Command>(&body) {
                Ok(command) => match self.core.order(now, &command, &self.store) {
                    Ok(_) => String::new(),
                    Err(error) => error.to_string(),
                },
                Err(error) => format!("not a command: {error}"),
            };
            self.core.answered(id, result);
        }
        Ok(())
    }

    /// Writes what the core says, however long that takes; `false` when the process stops first.
    fn commit(&mut self) -> bool {
        let changes = self.core.take();
        let mut is_stalled = false;
        while !changes.is_empty() {
            match self.store.apply(&changes) {
                Ok(()) => break,
                Err(error) => {
                    if !is_stalled {
                        tracing::error!(%error, "the desk's file takes no data: nobody is told anything until it does");
                        is_stalled = true;
                    }
                    // The channel carries nothing; it only closes.
                    if self.channels.stop.recv_timeout(RETRY) != Err(RecvTimeoutError::Timeout) {
                        return false;
                    }
                }
            }
        }
        self.tell(changes);
        true
    }

    /// Hands what is due to the routes; all of it is committed.
    fn act(&mut self) -> Result<(), StoreError> {
        while let Some((route, attempt)) = self.core.attempt(now(), &self.store)? {
            let id = attempt.id();
            if !self.ways.senders.send(route, attempt) {
                let outcome = Outcome::Down {
                    why: "its task has ended".to_owned(),
                    retry_ms: None,
                };
                self.core.attempted(now(), route, id, outcome);
            }
        }
        Ok(())
    }

    fn tell(&mut self, changes: Vec<Change>) {
        self.shared.set_vehicles(self.core.take_vehicles());
        let mut events = Vec::new();
        for change in changes {
            if let Change::Event(event) = change {
                events.push(event);
            }
        }
        self.shared.publish(events);
        for (reply, result) in self.replies.drain(..) {
            // Who asked may have given up.
            reply.try_send(result).ok();
        }
    }

    /// After an error that left the core half way; `false` when the process stops first.
    fn begin_again(&mut self) -> bool {
        self.replies.clear();
        loop {
            let name = self.feed.name();
            let (desk, groups) = (&self.desk, &self.groups);
            let begun = core(
                &self.store,
                desk,
                groups,
                &self.routes,
                self.ways.seed,
                &name,
            )
            .map_err(anyhow::Error::from)
            .and_then(|core| {
                self.core = core;
                self.cursor = self.store.cursor(&self.feed.name())?.unwrap_or(0);
                Ok(self.learn()?)
            });
            match begun {
                Ok(()) => return true,
                Err(error) => tracing::warn!(%error, "the desk cannot begin again yet"),
            }
            if self.channels.stop.recv_timeout(RETRY) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
        }
    }
}
