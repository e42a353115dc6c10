//! The shell of `fleet-central run`: threads, channels, signals, and the order of starting and stopping.
//!
//! Promises: the database is open before the broker lets anybody in; on SIGTERM or SIGINT what was taken is
//! committed and said before the process ends; when the broker or the writer is gone the process ends with
//! a failure, so that its supervisor starts it again. Never: a queue without a bound.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::broker::{self, Embedded};
use crate::clock;
use crate::committer::{Committer, Place as Position};
use crate::config::{self, Broker, Buckets, Config, External, Place};
use crate::desk::{self, Feed, Tapped};
use crate::http::Http;
use crate::ingest::{CoreConfig, Sink, SinkError};
use crate::link::{self, Channels as LinkChannels};
use crate::mqtt::{LinkConfig, SELF, SelfTest};
use crate::postgres::{Postgres, PostgresFeed};
use crate::sqlite::{Sqlite, SqliteFeed};
use crate::writer::{Channels as WriterChannels, Writer, WriterConfig};

/// Publishes between the broker and the writer: ten times a broker's usual window. A broker that sends
/// more without an acknowledgement waits.
const INBOX_MAX: usize = 1_024;
/// Answers between the writer and the broker: one per device and second for a large fleet.
const SAID_MAX: usize = 8_192;
/// How long a stop may take before the process leaves regardless: nothing unacknowledged is lost by it.
const STOP_MS_MAX: u64 = 10_000;
const STOP_STEP_MS: u64 = 20;
/// A database that takes no data is tried again after so long.
const RETRY_MS_MIN: u64 = 500;
const RETRY_MS_MAX: u64 = 15_000;
/// At a start the database is waited for so long; then the supervisor has its turn.
const OPEN_MS_MAX: u64 = 20_000;

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Signal,
    Broker,
    Writer,
    Link,
    Desk,
    /// The broker does not deliver to us.
    SelfTest,
    /// Nobody serves the page any more.
    Http,
}

/// What devices publish on.
pub(crate) const LEAVES: [&str; 4] = ["telemetry", "alert", "health", "status"];

/// The filters of the centre: one per leaf, and per bucket unless it serves all; never shared.
pub(crate) fn filters(prefix: &str, buckets: Buckets) -> Vec<String> {
    let levels: Vec<String> = match buckets {
        Buckets::ALL => vec!["+".to_owned()],
        Buckets { first, last } => (first..=last).map(|n| format!("{n:02x}")).collect(),
    };
    levels
        .iter()
        .flat_map(|bucket| LEAVES.map(|leaf| format!("{prefix}/{bucket}/+/{leaf}")))
        .collect()
}

/// Runs until a signal or a failure.
///
/// # Errors
/// What ended it, when that was not a signal.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let (ends, end) = bounded(8);
    watch_signals(ends.clone()).context("cannot watch signals")?;
    let station = Station::start(config, ends.clone())?;
    let http = config
        .http
        .as_ref()
        .map(|http| {
            let desk = station.desk.desk.clone();
            Http::start(http, &config.database.place, desk, move || {
                report(&ends, End::Http);
            })
        })
        .transpose();
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            station.stop(&end);
            return Err(error.context("cannot serve the page"));
        }
    };
    tracing::info!(
        database = %config.database.place,
        broker = format!("{}:{}", station.reach.host, station.reach.port),
        "fleet-central runs"
    );
    if let Some(http) = &http {
        tracing::info!("the page is at {}", http.url);
    }
    let why = end.recv().unwrap_or(End::Link);
    tracing::info!(?why, "fleet-central stops");
    if let Some(http) = http {
        http.stop();
    }
    station.stop(&end);
    match why {
        End::Signal => Ok(()),
        End::Broker => anyhow::bail!("the embedded broker has ended"),
        End::Writer => anyhow::bail!("the writer has ended"),
        End::Http => anyhow::bail!("the server of the page has ended"),
        End::Link => anyhow::bail!("the link to the broker has ended"),
        End::Desk => anyhow::bail!("the desk has ended"),
        End::SelfTest => anyhow::bail!(
            "the broker does not deliver to this ingest, which refuses to run: see the log"
        ),
    }
}

/// The running threads, and how to stop them.
#[derive(Debug)]
pub(crate) struct Station {
    /// Where clients of this machine reach the broker.
    pub(crate) reach: External,
    writer: JoinHandle<()>,
    link: JoinHandle<()>,
    stop_writer: Sender<()>,
    stop_link: watch::Sender<bool>,
    /// Alerts and vehicles, for whoever shows them.
    pub(crate) desk: desk::Running,
}

impl Station {
    /// Opens the database, starts the broker, the writer and the link. What ends is reported to `ends`.
    ///
    /// # Errors
    /// When the database or the broker's address cannot be used.
    pub(crate) fn start(config: &Config, ends: Sender<End>) -> anyhow::Result<Self> {
        match &config.database.place {
            Place::Sqlite(path) => {
                let sink = Sqlite::open(path, clock::utc_ms(), random()?)?;
                let central_id = sink.central_id();
                let feed = Box::new(SqliteFeed::open(path)?);
                Self::with_sink(config, sink, feed, central_id, ends)
            }
            Place::Postgres(reach) => {
                let sink = open_postgres(reach, config)?;
                let central_id = sink.central_id();
                let feed = Box::new(PostgresFeed::new(reach, config.ingest.buckets)?);
                Self::with_sink(config, sink, feed, central_id, ends)
            }
        }
    }

    fn with_sink<S: Sink + Send + 'static>(
        config: &Config,
        sink: S,
        feed: Box<dyn Feed>,
        central_id: u64,
        ends: Sender<End>,
    ) -> anyhow::Result<Self> {
        let seed = random()?;
        let filters = filters(&config.prefix, config.ingest.buckets);
        let embedded = start_broker(config, &filters)?;
        let reach = reach(config, embedded.as_ref());
        let place = desk::Place {
            reach: reach.clone(),
            prefix: config.prefix.clone(),
        };
        let desk = start_desk(config, &place, feed, ends.clone())?;
        let vitals = Arc::clone(desk.tap.vitals());
        let sink = Tapped::new(sink, desk.tap.clone());
        let (inbox_in, inbox) = bounded(INBOX_MAX);
        let (said_in, said) = mpsc::channel(SAID_MAX);
        let (acked_in, acked) = watch::channel(Position::default());
        let (stop_writer, writer_stop) = bounded::<()>(0);
        let (stop_link, link_stop) = watch::channel(false);
        let writer = Writer::new(
            Committer::new(core_config(config, central_id, random()?), sink),
            writer_config(config, seed),
            WriterChannels {
                inbox,
                acked: acked_in,
                said: said_in,
                stop: writer_stop,
                vitals: Arc::clone(&vitals),
            },
        );
        let writer = spawn_reporting("writer", ends.clone(), End::Writer, move || writer.run())?;
        let link_config = LinkConfig {
            reach: reach.clone(),
            client_id: client_id(central_id, config.ingest.buckets),
            is_persistent: true,
            self_test: Some(self_test(&config.prefix, config.ingest.buckets, random()?)),
            filters: {
                // What devices hear from us must go through, too.
                let mut filters = filters;
                filters.push(format!("{}/+/{SELF}/ack", config.prefix));
                filters
            },
        };
        let channels = LinkChannels {
            inbox: inbox_in,
            said,
            acked,
            stop: link_stop,
            vitals,
        };
        let is_embedded = embedded.is_some();
        if let Some(Embedded { ended, .. }) = embedded {
            watch_broker(ended, ends.clone())?;
        }
        let link_ends = ends.clone();
        let link = spawn_reporting("link", ends, End::Link, move || {
            serve(&link_config, channels, seed, is_embedded, &link_ends);
        })?;
        Ok(Self {
            reach,
            writer,
            link,
            stop_writer,
            stop_link,
            desk,
        })
    }

    /// No further publish is taken; what was taken is committed and said. Bounded in time.
    pub(crate) fn stop(self, end: &Receiver<End>) {
        self.stop_link.send_replace(true);
        // Tells a writer that waits for its database to leave; one that works finishes first.
        drop(self.stop_writer);
        let start_ms = clock::monotonic_ms();
        while !self.writer.is_finished() || !self.link.is_finished() {
            let left_ms = STOP_MS_MAX.saturating_sub(clock::monotonic_ms() - start_ms);
            if left_ms == 0 {
                tracing::warn!("the stop takes too long; what is not acknowledged comes again");
                return;
            }
            // Woken by the report of each thread, or soon after it.
            end.recv_timeout(Duration::from_millis(left_ms.min(STOP_STEP_MS)))
                .ok();
        }
        // The desk hears of the last commit before it goes.
        drop(self.desk.tap);
        drop(self.desk.stop);
        while !self.desk.thread.is_finished() {
            let left_ms = STOP_MS_MAX.saturating_sub(clock::monotonic_ms() - start_ms);
            if left_ms == 0 {
                tracing::warn!("the desk takes too long; it goes on at the next start");
                return;
            }
            end.recv_timeout(Duration::from_millis(left_ms.min(STOP_STEP_MS)))
                .ok();
        }
    }
}

/// A message through each kind of filter: the first bucket and the last one, each leaf, and an acknowledgement.
fn self_test(prefix: &str, buckets: Buckets, token: u64) -> SelfTest {
    let ends = std::collections::BTreeSet::from([buckets.first, buckets.last]);
    let mut topics: Vec<String> = ends
        .iter()
        .flat_map(|bucket| LEAVES.map(|leaf| format!("{prefix}/{bucket:02x}/{SELF}/{leaf}")))
        .collect();
    topics.push(format!("{prefix}/{:02x}/{SELF}/ack", buckets.first));
    SelfTest {
        topics,
        payload: format!("self-test {token:016x}").into_bytes(),
    }
}

/// The name of the persistent session at the broker. Each range of buckets has its own.
fn client_id(central_id: u64, buckets: Buckets) -> String {
    match buckets {
        Buckets::ALL => format!("fleet-central-{central_id:016x}"),
        some => format!("fleet-central-{central_id:016x}-{some}"),
    }
}

/// Opens the database of a server that may be starting or still hold the session of a process that was killed.
fn open_postgres(reach: &config::Postgres, config: &Config) -> anyhow::Result<Postgres> {
    let mut backoff = Backoff::new(RETRY_MS_MIN, RETRY_MS_MAX, random()?);
    let start_ms = clock::monotonic_ms();
    loop {
        let opened = Postgres::open(reach, config.ingest.buckets, clock::utc_ms(), random()?);
        match opened {
            Ok(sink) => return Ok(sink),
            Err(SinkError::Unavailable(why) | SinkError::Fenced(why))
                if clock::monotonic_ms() - start_ms < OPEN_MS_MAX =>
            {
                let wait_ms = backoff.next_ms();
                tracing::warn!(why, wait_ms, "the database cannot be used yet");
                std::thread::park_timeout(Duration::from_millis(wait_ms));
            }
            Err(error) => anyhow::bail!("cannot use {}: {error}", reach.url),
        }
    }
}

fn start_desk(
    config: &Config,
    place: &desk::Place,
    feed: Box<dyn Feed>,
    ends: Sender<End>,
) -> anyhow::Result<desk::Running> {
    desk::start(config, place, feed, move || report(&ends, End::Desk))
        .with_context(|| format!("cannot start the desk over {}", config.desk.path.display()))
}

fn core_config(config: &Config, central_id: u64, run: u64) -> CoreConfig {
    CoreConfig {
        prefix: config.prefix.clone(),
        central_id,
        run,
        ack_period_ms: config.ingest.ack_period_ms.into(),
        keep_sealed_bytes: config.database.keep_sealed_bytes,
        gap_ms: u64::from(config.ingest.gap_s) * 1_000,
        backlog_bytes_per_s: config.ingest.backlog_bytes_per_s,
    }
}

fn writer_config(config: &Config, jitter_seed: u64) -> WriterConfig {
    WriterConfig {
        commit_ms_max: config.ingest.commit_ms_max.into(),
        retention_days: config.database.retention_days,
        state_topic: format!("{}/central/state", config.prefix),
        retry_ms_min: RETRY_MS_MIN,
        retry_ms_max: RETRY_MS_MAX,
        jitter_seed,
    }
}

fn watch_broker(ended: Receiver<()>, ends: Sender<End>) -> io::Result<()> {
    spawn("broker-watch", move || {
        // Never carries anything; it closes when the broker has ended.
        ended.recv().ok();
        report(&ends, End::Broker);
    })
    .map(drop)
}

fn random() -> anyhow::Result<u64> {
    clock::random_u64().context("the operating system gives no random numbers")
}

fn start_broker(config: &Config, filters: &[String]) -> anyhow::Result<Option<Embedded>> {
    let Broker::Embedded { listen, .. } = &config.broker else {
        return Ok(None);
    };
    if !listen.ip().is_loopback() {
        tracing::warn!(%listen, "the embedded broker is reachable from elsewhere and has neither TLS nor access control");
    }
    let embedded = broker::start(*listen, filters)
        .with_context(|| format!("cannot start the broker on {listen}"))?;
    Ok(Some(embedded))
}

fn reach(config: &Config, embedded: Option<&Embedded>) -> External {
    let mut reach = config.broker.reach();
    if let Some(embedded) = embedded {
        reach.port = embedded.address.port();
    }
    reach
}

fn watch_signals(ends: Sender<End>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    spawn("signals", move || {
        for _ in signals.forever() {
            report(&ends, End::Signal);
        }
    })
    .map(drop)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// Reports the end of the work, a panic included.
fn spawn_reporting(
    name: &str,
    ends: Sender<End>,
    end: End,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    struct Report(Sender<End>, End);
    impl Drop for Report {
        fn drop(&mut self) {
            report(&self.0, self.1);
        }
    }
    spawn(name, move || {
        let _report = Report(ends, end);
        work();
    })
}

/// The first few reasons are enough.
fn report(ends: &Sender<End>, end: End) {
    ends.try_send(end).ok();
}

fn serve(
    config: &LinkConfig,
    channels: LinkChannels,
    seed: u64,
    is_embedded: bool,
    ends: &Sender<End>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime for the link");
            return;
        }
    };
    runtime.block_on(async {
        let watch = async {
            if is_embedded {
                let probe = LinkConfig {
                    client_id: format!("{}-probe", config.client_id),
                    self_test: None,
                    ..config.clone()
                };
                link::watch_broker(&probe).await;
                report(ends, End::Broker);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            served = link::serve(config, channels, seed) => {
                if served.is_err() {
                    report(ends, End::SelfTest);
                }
            }
            () = watch => {}
        }
    });
}
