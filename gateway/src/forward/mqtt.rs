//! The rim: two MQTT connections on one thread. The only files that name `rumqttc` are this and those below.
//!
//! Promises: every life of a connection has a fresh client and event loop, so nothing of an earlier life is
//! ever sent or answered in a later one; a token is answered when the broker answers its packet; a message
//! longer than the limit is refused before it can end the connection; a link on which nothing is heard for
//! two keep-alives is given up, however full its buffers are; an attempt tries the brokers in their order,
//! and who had to take a later one looks now and then whether the first is back; the caller is never
//! blocked; a link that is hurried waits for no back-off, and says so when nobody answers; a stop says
//! DISCONNECT and ends within its time.
//!
//! Never: keeps a message beyond its life (the spool owns every unacknowledged byte); retries one; frees
//! one.
//!
//! Packet ids are reused at once, therefore they are mapped to tokens in the order in which packets left and
//! are forgotten with the life.

mod client;
mod config;
mod life;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::backoff::{Backoff, Bounds, Ender};
use super::link::{Connection, LinkCommand, LinkEvent, Session};
use super::random::Random;
use super::transport::{Failure, is_reachable};
pub use config::{MqttConfig, MqttVersion};
use life::{End, Life};

/// How long to wait before another attempt to hand over an event when the receiver is behind.
const EVENT_RETRY: Duration = Duration::from_millis(5);
/// How long the alert connection waits for the main one after the broker ended it: a fleet comes back with
/// its main connections first.
const MAIN_FIRST: Duration = Duration::from_secs(600);
/// The longest wait between two lives of a hurried connection: the last words have seconds.
const HURRIED_WAIT_MAX: Duration = Duration::from_millis(200);

/// The queue of a connection is full, or its thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent;

/// Two connections on their thread.
#[derive(Debug)]
pub struct MqttLink {
    main: mpsc::Sender<LinkCommand>,
    alert: mpsc::Sender<LinkCommand>,
    hurry: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl MqttLink {
    /// Starts the thread; events come out of the channel's other end.
    ///
    /// # Errors
    /// When the machine gives no thread or no event queue.
    pub fn start(config: MqttConfig, events: Sender<LinkEvent>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (main, main_commands) = mpsc::channel(config.commands_max.max(1));
        let (alert, alert_commands) = mpsc::channel(config.commands_max.max(1));
        let (hurry, hurried) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (main_is_up, is_main_up) = watch::channel(false);
        let line = |connection, commands, stream| Line {
            connection,
            config: config.clone(),
            commands,
            events: events.clone(),
            hurried: hurried.clone(),
            stopped: stopped.clone(),
            main_is_up: main_is_up.clone(),
            is_main_up: is_main_up.clone(),
            random: Random::new(config.seed ^ stream),
        };
        let main_line = line(Connection::Main, main_commands, 0x6D);
        let alert_line = line(Connection::Alert, alert_commands, 0x61);
        let thread = std::thread::Builder::new()
            .name("mqtt".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::join!(main_line.run(), alert_line.run());
                });
            })?;
        Ok(Self {
            main,
            alert,
            hurry,
            stop,
            thread: Some(thread),
        })
    }

    /// Hands a command over without waiting.
    ///
    /// # Errors
    /// [`NotSent`] when the queue is full: the core counts the message as in flight and gives the
    /// connection up when no answer comes.
    pub fn send(&self, command: LinkCommand) -> Result<(), NotSent> {
        let queue = match command.session().connection {
            Connection::Main => &self.main,
            Connection::Alert => &self.alert,
        };
        queue.try_send(command).map_err(|_| NotSent)
    }

    /// There are last words to say: the main connection dials at once instead of waiting out its back-off.
    /// [`LinkEvent::Unreachable`] tells when that gives none.
    pub fn hurry(&self) {
        self.hurry.send_replace(true);
    }

    /// Sends what is queued, says DISCONNECT, and ends the thread; all within the flush time.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the MQTT thread had panicked");
        }
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        self.end();
    }
}

/// One connection over all its lives.
struct Line {
    connection: Connection,
    config: MqttConfig,
    commands: mpsc::Receiver<LinkCommand>,
    events: Sender<LinkEvent>,
    hurried: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    main_is_up: watch::Sender<bool>,
    is_main_up: watch::Receiver<bool>,
    random: Random,
}

impl Line {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.bounds(), Random::new(self.random.next_u64()));
        let mut number = 0;
        while !*self.stopped.borrow() {
            // An attempt that was under way before may have come a moment too soon.
            let was_hurried = self.is_hurried();
            let (ended, lived) = self.round(&mut number).await;
            if lived.is_stable {
                backoff.reset();
            }
            // After a return to the first broker there is nothing to wait for.
            let Some(ender) = ended.filter(|_| !*self.stopped.borrow()) else {
                continue;
            };
            if ender == Ender::Broker && self.connection == Connection::Alert {
                self.wait_for_main().await;
            }
            if was_hurried && !lived.was_announced {
                let event = LinkEvent::Unreachable(self.connection);
                emit(&self.events, event, &self.stopped).await;
            }
            self.pause(backoff.next(ender)).await;
        }
    }

    fn bounds(&self) -> Bounds {
        let bounds = Bounds {
            min_ms: self.config.backoff_ms_min,
            max_ms: self.config.backoff_ms_max,
            spread_ms: self.config.spread_ms,
        };
        match self.connection {
            Connection::Main => bounds,
            Connection::Alert => bounds.of_alerts(),
        }
    }

    /// Whether there are last words for this connection; alerts go over the main one if they must.
    fn is_hurried(&self) -> bool {
        self.connection == Connection::Main && *self.hurried.borrow()
    }

    /// Either the time passes, or hurry or the stop ends the wait; all are fine.
    async fn pause(&mut self, time: Duration) {
        let may_hurry = self.connection == Connection::Main && !self.is_hurried();
        let time = if self.is_hurried() {
            time.min(HURRIED_WAIT_MAX)
        } else {
            time
        };
        tokio::select! {
            _ = timeout(time, self.stopped.wait_for(|stop| *stop)) => {}
            _ = self.hurried.wait_for(|hurry| *hurry), if may_hurry => {}
        }
    }

    async fn wait_for_main(&mut self) {
        tokio::select! {
            _ = timeout(MAIN_FIRST, self.is_main_up.wait_for(|is_up| *is_up)) => {}
            _ = self.stopped.wait_for(|stop| *stop) => {}
        }
    }

    /// Tries the brokers in their order until one gives a life, and lives it. Who ended it, if the next
    /// attempt has to wait, and what became of it.
    async fn round(&mut self, number: &mut u64) -> (Option<Ender>, Lived) {
        let mut ender = Ender::Link;
        for index in 0..self.config.brokers.len() {
            *number += 1;
            let session = Session {
                connection: self.connection,
                number: *number,
            };
            let (end, life) = self.live(session, index).await;
            if *self.stopped.borrow() {
                return (None, life);
            }
            match end {
                End::Closed => return (None, life),
                End::Returns => {
                    tracing::info!(?session, "the first broker answers again");
                    return (None, life);
                }
                End::Broken(Failure { ender: blamed, why }) => {
                    let broker = self.config.brokers.get(index).map(ToString::to_string);
                    tracing::info!(?session, broker, %why, "a connection ended");
                    // A refusal by one of them is enough to spread the fleet.
                    if blamed == Ender::Broker {
                        ender = blamed;
                    }
                    if life.was_announced {
                        return (Some(blamed), life);
                    }
                }
            }
        }
        (Some(ender), Lived::default())
    }

    /// One life, from the attempt to connect to its end.
    async fn live(&mut self, session: Session, index: usize) -> (End, Lived) {
        let mut life = match Life::open(&self.config, session, index, &mut self.random) {
            Ok(life) => life,
            Err(failure) => return (End::Broken(failure), Lived::default()),
        };
        let mut stopped = self.stopped.clone();
        let connected = tokio::select! {
            connected = life.connect() => connected,
            _ = stopped.wait_for(|stop| *stop) => return (End::Closed, Lived::default()),
        };
        let limits = match connected {
            Ok(limits) => limits,
            Err(failure) => return (End::Broken(failure), Lived::default()),
        };
        let (is_stable, announced) = (std::cell::Cell::new(false), std::cell::Cell::new(false));
        let (stable, flush) = (self.config.stable_ms, self.config.flush_ms_max);
        let return_ms = self
            .config
            .return_ms
            .saturating_add(self.random.below(self.config.return_ms.max(1)));
        let post = life::Post {
            config: &self.config,
            events: &self.events,
            stopped: self.stopped.clone(),
            limits,
            announced: &announced,
            main_is_up: &self.main_is_up,
        };
        let end = tokio::select! {
            end = life.live(&post, &mut self.commands) => end,
            end = async {
                pass(Duration::from_millis(stable)).await;
                is_stable.set(true);
                std::future::pending().await
            } => end,
            end = look_for_the_first(&self.config, index, return_ms) => end,
            end = async {
                // The channel ends only with the link itself: a stop, too.
                stopped.wait_for(|stop| *stop).await.ok();
                pass(Duration::from_millis(flush)).await;
                End::Broken(Failure::link("the time of the stop is over"))
            } => end,
        };
        let lived = Lived {
            is_stable: is_stable.get(),
            was_announced: announced.get(),
        };
        if matches!(end, End::Closed) {
            life.flush(Duration::from_millis(flush)).await;
        }
        if session.connection == Connection::Main {
            self.main_is_up.send_replace(false);
        }
        if lived.was_announced {
            emit(
                &self.events,
                LinkEvent::Disconnected(session),
                &self.stopped,
            )
            .await;
        }
        (end, lived)
    }
}

/// What became of a life.
#[derive(Debug, Clone, Copy, Default)]
struct Lived {
    is_stable: bool,
    was_announced: bool,
}

/// Who lives with another than the first broker looks now and then whether that one is back.
async fn look_for_the_first(config: &MqttConfig, index: usize, return_ms: u64) -> End {
    let Some(first) = config.brokers.first().filter(|_| index > 0) else {
        return std::future::pending().await;
    };
    let limit = Duration::from_secs(u64::from(config.connect_s_max.max(1)));
    loop {
        pass(Duration::from_millis(return_ms)).await;
        if timeout(limit, is_reachable(first, &config.route)).await == Ok(true) {
            return End::Returns;
        }
    }
}

/// Lets a time pass.
async fn pass(time: Duration) {
    timeout(time, std::future::pending::<()>()).await.ok();
}

/// Hands an event to the run loop. While that is behind, the broker waits with us; after a stop nobody
/// may be reading any more.
async fn emit(events: &Sender<LinkEvent>, event: LinkEvent, stopped: &watch::Receiver<bool>) {
    let mut event = event;
    loop {
        match events.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            Err(TrySendError::Full(_)) if *stopped.borrow() => return,
            Err(TrySendError::Full(kept)) => event = kept,
        }
        pass(EVENT_RETRY).await;
    }
}

#[cfg(test)]
mod tests;
