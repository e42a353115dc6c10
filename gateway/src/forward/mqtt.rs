//! The rim: two MQTT 3.1.1 connections on one thread. The only file that names `rumqttc`.
//!
//! Promises: every life of a connection has a fresh client and event loop, so nothing of an earlier life is
//! ever sent or answered in a later one; a token is answered when the broker answers its packet; a message
//! longer than the limit is refused before it can end the connection; a half-open link is given up within
//! two keep-alives; the caller is never blocked; a stop says DISCONNECT and ends within its time.
//!
//! Never: keeps a message beyond its life (the spool owns every unacknowledged byte); retries one; frees
//! one.
//!
//! The request channel of rumqttc has no capacity, so that what it would drop at a reconnect cannot pile up
//! in it. Its packet ids are reused at once, therefore they are mapped to tokens in the order in which
//! packets left and are forgotten with the life.

mod config;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    SubscribeReasonCode,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::backoff::Backoff;
use super::link::{Connection, LinkCommand, LinkEvent, Session};
use super::random::Random;
pub use config::MqttConfig;

/// Packets that rumqttc may have in flight. Far above our windows: a packet id must not come round again
/// while the broker still owes its answer.
const INFLIGHT_MAX: u16 = 200;
/// Bytes of an MQTT publish around topic and payload, at most.
const PUBLISH_OVERHEAD_LEN: usize = 9;
/// How long to wait before another attempt to hand over an event when the receiver is behind.
const EVENT_RETRY: Duration = Duration::from_millis(5);

/// The queue of a connection is full, or its thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent;

/// Two connections on their thread.
#[derive(Debug)]
pub struct MqttLink {
    main: mpsc::Sender<LinkCommand>,
    alert: mpsc::Sender<LinkCommand>,
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
        let (stop, stopped) = watch::channel(false);
        let line = |connection, commands, stream| Line {
            connection,
            config: config.clone(),
            commands,
            events: events.clone(),
            stopped: stopped.clone(),
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
    stopped: watch::Receiver<bool>,
    random: Random,
}

/// Which packets of a life wait for which token's answer.
#[derive(Debug, Default)]
struct Flights {
    leaving: VecDeque<u64>,
    flying: HashMap<u16, u64>,
}

/// Why a life ended.
#[derive(Debug)]
enum End {
    /// The network, the broker or the core ended it.
    Broken(String),
    /// We said DISCONNECT.
    Closed,
}

/// What the two halves of a life share.
struct Life {
    session: Session,
    flights: RefCell<Flights>,
    subscribed: Notify,
    landed: Notify,
    announced: RefCell<bool>,
}

impl Line {
    async fn run(mut self) {
        let mut backoff = Backoff::new(
            self.config.backoff_ms_min,
            self.config.backoff_ms_max,
            self.random.clone(),
        );
        let mut number = 0;
        while !*self.stopped.borrow() {
            number += 1;
            let session = Session {
                connection: self.connection,
                number,
            };
            let (end, is_stable) = self.live(session).await;
            if let End::Broken(why) = &end {
                tracing::info!(?session, %why, "a connection ended");
            }
            if is_stable {
                backoff.reset();
            }
            if !*self.stopped.borrow() {
                let wait = backoff.next();
                // Either the time passes or the stop ends the wait; both are fine.
                timeout(wait, self.stopped.wait_for(|stop| *stop))
                    .await
                    .ok();
            }
        }
    }

    /// One life, from the attempt to connect to its end; whether it was stable.
    async fn live(&mut self, session: Session) -> (End, bool) {
        let (client, mut eventloop) = AsyncClient::new(self.options(), 0);
        let mut network = eventloop.network_options();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(u64::from(self.config.connect_s_max.max(1)));
        eventloop.set_network_options(network);

        let mut stopped = self.stopped.clone();
        let connected = tokio::select! {
            connected = connect(&mut eventloop) => connected,
            _ = stopped.wait_for(|stop| *stop) => return (End::Closed, false),
        };
        if let Err(why) = connected {
            return (End::Broken(why), false);
        }
        let life = Life {
            session,
            flights: RefCell::default(),
            subscribed: Notify::new(),
            landed: Notify::new(),
            announced: RefCell::new(false),
        };
        if self.connection == Connection::Alert {
            life.announce(&self.events, &self.stopped).await;
        }
        let (stable, flush) = (self.config.stable_ms, self.config.flush_ms_max);
        let is_stable = RefCell::new(false);
        let end = {
            let (config, events, stop) = (&self.config, &self.events, self.stopped.clone());
            let commands = &mut self.commands;
            tokio::select! {
                end = life.listen(&mut eventloop, events, &stop) => end,
                end = life.speak(&client, config, commands, events, stop.clone()) => end,
                end = async {
                    pass(Duration::from_millis(stable)).await;
                    is_stable.replace(true);
                    pending().await
                } => end,
                end = async {
                    // The channel ends only with the link itself: a stop, too.
                    stopped.wait_for(|stop| *stop).await.ok();
                    pass(Duration::from_millis(flush)).await;
                    End::Broken("the time of the stop is over".to_owned())
                } => end,
            }
        };
        if *life.announced.borrow() {
            emit(
                &self.events,
                LinkEvent::Disconnected(session),
                &self.stopped,
            )
            .await;
        }
        (end, is_stable.into_inner())
    }

    fn options(&self) -> MqttOptions {
        let config = &self.config;
        let suffix = match self.connection {
            Connection::Main => "m",
            Connection::Alert => "a",
        };
        let id = format!("{}-{suffix}", config.client_id);
        let mut options = MqttOptions::new(id, &config.host, config.port);
        options
            .set_clean_session(true)
            .set_keep_alive(Duration::from_secs(u64::from(config.keep_alive_s.max(1))))
            .set_inflight(INFLIGHT_MAX)
            .set_max_packet_size(config.packet_len_max, config.packet_len_max);
        if let Some((user, password)) = &config.credentials {
            options.set_credentials(user, password);
        }
        if self.connection == Connection::Main {
            let (topic, will) = (config.status_topic.as_str(), config.will.clone());
            options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, false));
        }
        options
    }
}

impl Life {
    /// Hears what the broker sends until the life ends.
    async fn listen(
        &self,
        eventloop: &mut EventLoop,
        events: &Sender<LinkEvent>,
        stopped: &watch::Receiver<bool>,
    ) -> End {
        loop {
            let event = match eventloop.poll().await {
                Ok(event) => event,
                Err(e) => return End::Broken(e.to_string()),
            };
            match event {
                Event::Outgoing(Outgoing::Publish(packet_id)) => self.left(packet_id),
                Event::Outgoing(Outgoing::Disconnect) => return End::Closed,
                Event::Incoming(Packet::PubAck(ack)) => {
                    let token = self.flights.borrow_mut().flying.remove(&ack.pkid);
                    self.landed.notify_one();
                    if let Some(token) = token {
                        let session = self.session;
                        emit(events, LinkEvent::PubAck { session, token }, stopped).await;
                    }
                }
                Event::Incoming(Packet::Publish(message)) => {
                    let payload = message.payload.to_vec();
                    emit(events, LinkEvent::Received { payload }, stopped).await;
                }
                Event::Incoming(Packet::SubAck(answer)) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        return End::Broken("the broker refuses the ack topic".to_owned());
                    }
                    self.announce(events, stopped).await;
                    self.subscribed.notify_one();
                }
                Event::Incoming(Packet::Disconnect) => {
                    return End::Broken("the broker said DISCONNECT".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Says what the core asks for until a stop; returns only when the life is to end at once.
    async fn speak(
        &self,
        client: &AsyncClient,
        config: &MqttConfig,
        commands: &mut mpsc::Receiver<LinkCommand>,
        events: &Sender<LinkEvent>,
        mut stopped: watch::Receiver<bool>,
    ) -> End {
        if self.session.connection == Connection::Main {
            let limit = Duration::from_secs(u64::from(config.connect_s_max.max(1)));
            let topic = config.ack_topic.as_str();
            let asked = client.subscribe(topic, QoS::AtMostOnce).await;
            if asked.is_err() || timeout(limit, self.subscribed.notified()).await.is_err() {
                return End::Broken("the broker does not answer the subscription".to_owned());
            }
        }
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                _ = stopped.wait_for(|stop| *stop) => None,
            };
            match command {
                Some(command) if command.session() != self.session => {}
                Some(LinkCommand::Reconnect { .. }) => {
                    return End::Broken("the core gives the connection up".to_owned());
                }
                Some(LinkCommand::Publish {
                    token,
                    topic,
                    payload,
                    ..
                }) => {
                    let len = topic.len() + payload.len() + PUBLISH_OVERHEAD_LEN;
                    let session = self.session;
                    if len > config.packet_len_max {
                        emit(events, LinkEvent::TooLarge { session, token }, &stopped).await;
                        continue;
                    }
                    self.flights.borrow_mut().leaving.push_back(token);
                    let (topic, qos) = (topic.as_str(), QoS::AtLeastOnce);
                    if let Err(e) = client.publish(topic, qos, false, payload).await {
                        return End::Broken(e.to_string());
                    }
                }
                None => break,
            }
        }
        while self.is_flying() {
            self.landed.notified().await;
        }
        if let Err(e) = client.disconnect().await {
            return End::Broken(e.to_string());
        }
        // The other half ends the life when the packet has left.
        pending().await
    }

    fn left(&self, packet_id: u16) {
        let mut flights = self.flights.borrow_mut();
        if let Some(token) = flights.leaving.pop_front() {
            flights.flying.insert(packet_id, token);
        }
    }

    fn is_flying(&self) -> bool {
        let flights = self.flights.borrow();
        !flights.leaving.is_empty() || !flights.flying.is_empty()
    }

    async fn announce(&self, events: &Sender<LinkEvent>, stopped: &watch::Receiver<bool>) {
        if !self.announced.replace(true) {
            emit(events, LinkEvent::Connected(self.session), stopped).await;
        }
    }
}

/// Connects until the broker has answered.
async fn connect(eventloop: &mut EventLoop) -> Result<(), String> {
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// Lets a time pass.
async fn pass(time: Duration) {
    timeout(time, pending::<()>()).await.ok();
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
