//! One life of a connection: connect, subscribe, speak and hear, end.
//!
//! Promises: the ack topic is subscribed before a life of the main connection is announced, and the topic of
//! profiles after it; no more messages
//! are given to the library than the broker allows unanswered; what the broker refuses is told as refused.
//! Never: outlives its first error.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::client::{self, Client, Heard, Limits, Mover, Target};
use super::config::MqttConfig;
use super::emit;
use crate::forward::link::{Connection, LinkCommand, LinkEvent, Session};
use crate::forward::random::Random;
use crate::forward::transport::{BrokerAddress, Failure, Keys, Relay, Route, TimeFloor};

/// Bytes of an MQTT publish around topic and payload, at most; MQTT 5 has an empty property more.
const PUBLISH_OVERHEAD_LEN: usize = 10;

/// Why a life ended.
#[derive(Debug)]
pub(super) enum End {
    /// The network, the broker or the core ended it.
    Broken(Failure),
    /// We said DISCONNECT.
    Closed,
    /// A broker that is preferred is back.
    Returns,
}

/// The relay of a life at work; ends with the connection.
type Carrying = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// One life.
pub(super) struct Life {
    session: Session,
    client: Client,
    mover: Mover,
    /// `None` when the library dials by itself, or when the relay has ended.
    carrying: Option<Carrying>,
    talk: Talk,
}

/// What the halves of a life share.
struct Talk {
    session: Session,
    flights: RefCell<Flights>,
    subscribed: Notify,
    landed: Notify,
    heard: Notify,
}

/// Which packets of a life wait for which token's answer.
#[derive(Debug, Default)]
struct Flights {
    leaving: VecDeque<u64>,
    flying: HashMap<u16, u64>,
}

impl Flights {
    fn count(&self) -> usize {
        self.leaving.len() + self.flying.len()
    }
}

/// Where a life gets its words and leaves its news.
pub(super) struct Post<'a> {
    pub(super) config: &'a MqttConfig,
    pub(super) events: &'a Sender<LinkEvent>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) limits: Limits,
    pub(super) announced: &'a Cell<bool>,
    pub(super) main_is_up: &'a watch::Sender<bool>,
}

impl Life {
    /// Prepares a life with the broker of this place in the list. The keys are read now.
    pub(super) fn open(
        config: &MqttConfig,
        session: Session,
        index: usize,
        random: &mut Random,
    ) -> Result<Self, Failure> {
        let Some(address) = config.brokers.get(index) else {
            return Err(Failure::link("no such broker"));
        };
        let keys = config.access.keys().map_err(Failure::link)?;
        let suffix = match session.connection {
            Connection::Main => "m",
            Connection::Alert => "a",
        };
        let client_id = format!("{}-{suffix}", config.client_id);
        let has_will = session.connection == Connection::Main;
        let login = keys.login.clone();
        let open = |target| client::open(config, &client_id, &target, login.as_ref(), has_will);
        let ((client, mover), carrying) = if config.route.is_plain() {
            (open(Target::Tcp(address)), None)
        } else {
            let relay = Relay::open(random.next_u64())
                .map_err(|error| Failure::link(format!("relay: {error}")))?;
            let opened = open(Target::Relay(relay.name()));
            let (address, route) = (address.clone(), config.route.clone());
            let floor = config.floor.clone();
            (opened, Some(carry(relay, address, route, keys, floor)))
        };
        Ok(Self {
            session,
            client,
            mover,
            carrying,
            talk: Talk {
                session,
                flights: RefCell::default(),
                subscribed: Notify::new(),
                landed: Notify::new(),
                heard: Notify::new(),
            },
        })
    }

    /// Connects until the broker has answered.
    pub(super) async fn connect(&mut self) -> Result<Limits, Failure> {
        let mover = &mut self.mover;
        let answered = async {
            loop {
                if let Heard::Connected(limits) = mover.next().await? {
                    return Ok(limits);
                }
            }
        };
        tokio::select! {
            biased;
            failure = carried(&mut self.carrying) => Err(failure),
            answered = answered => answered,
        }
    }

    /// Lives until something ends it.
    pub(super) async fn live(
        &mut self,
        post: &Post<'_>,
        commands: &mut mpsc::Receiver<LinkCommand>,
    ) -> End {
        if self.session.connection == Connection::Alert {
            self.talk.announce(post).await;
        }
        let (talk, client) = (&self.talk, &self.client);
        tokio::select! {
            end = talk.listen(&mut self.mover, post) => end,
            end = talk.speak(client, post, commands) => end,
            end = talk.watch(post) => end,
            failure = carried(&mut self.carrying) => End::Broken(failure),
        }
    }

    /// Lets what the library has written reach the broker.
    pub(super) async fn flush(self, limit: Duration) {
        // The library's end of the relay closes with these.
        drop((self.client, self.mover));
        if let Some(carrying) = self.carrying {
            // Whoever does not listen any more needs no goodbye.
            timeout(limit, carrying).await.ok();
        }
    }
}

/// Carries until the way to the broker breaks. When the library has let go of its end, it says why itself.
async fn carried(carrying: &mut Option<Carrying>) -> Failure {
    if let Some(work) = carrying {
        let end = work.await;
        *carrying = None;
        if let Err(failure) = end {
            return failure;
        }
    }
    pending().await
}

fn carry(
    relay: Relay,
    address: BrokerAddress,
    route: Route,
    keys: Keys,
    floor: TimeFloor,
) -> Carrying {
    Box::pin(async move { relay.run(&address, &route, &keys, &floor).await })
}

impl Talk {
    /// Hears what the broker sends until the life ends.
    async fn listen(&self, mover: &mut Mover, post: &Post<'_>) -> End {
        loop {
            let heard = match mover.next().await {
                Ok(heard) => heard,
                Err(failure) => return End::Broken(failure),
            };
            if !matches!(heard, Heard::Left(_) | Heard::Closed | Heard::Nothing) {
                self.heard.notify_one();
            }
            match heard {
                Heard::Left(packet_id) => self.left(packet_id),
                Heard::Taken(packet_id) => {
                    if let Some(token) = self.land(packet_id) {
                        let session = self.session;
                        self.tell(post, LinkEvent::PubAck { session, token }).await;
                    }
                }
                Heard::Refused(packet_id, reason) => {
                    if let Some(token) = self.land(packet_id) {
                        let session = self.session;
                        let event = LinkEvent::Refused {
                            session,
                            token,
                            reason,
                        };
                        self.tell(post, event).await;
                    }
                }
                Heard::Message(topic, payload) => {
                    let event = match post.config.is_profile_topic(&topic) {
                        true => LinkEvent::Profile { payload },
                        false => LinkEvent::Received { payload },
                    };
                    self.tell(post, event).await;
                }
                Heard::Subscribed => {
                    self.announce(post).await;
                    self.subscribed.notify_one();
                }
                Heard::NotSubscribed if post.announced.get() => {
                    tracing::warn!("the broker refuses the topic of profiles; they cannot be sent");
                }
                Heard::NotSubscribed => {
                    return End::Broken(Failure::link("the broker refuses the ack topic"));
                }
                Heard::Goodbye => {
                    return End::Broken(Failure::broker("the broker said DISCONNECT"));
                }
                Heard::Closed => return End::Closed,
                Heard::Connected(_) | Heard::Alive | Heard::Nothing => {}
            }
        }
    }

    /// Ends a life in which nothing is heard: each keep-alive asks for an answer.
    async fn watch(&self, post: &Post<'_>) -> End {
        let broker_s = post.limits.keep_alive_s;
        let keep_alive_s = broker_s.unwrap_or_else(|| post.config.pings_s());
        if keep_alive_s == 0 {
            return pending().await;
        }
        let limit = Duration::from_secs(2 * u64::from(keep_alive_s));
        while timeout(limit, self.heard.notified()).await.is_ok() {}
        End::Broken(Failure::link("nothing was heard for two keep-alives"))
    }

    /// Says what the core asks for until a stop; returns only when the life is to end at once.
    async fn speak(
        &self,
        client: &Client,
        post: &Post<'_>,
        commands: &mut mpsc::Receiver<LinkCommand>,
    ) -> End {
        match self.speak_until_gone(client, post, commands).await {
            Ok(never) => match never {},
            Err(failure) => End::Broken(failure),
        }
    }

    async fn speak_until_gone(
        &self,
        client: &Client,
        post: &Post<'_>,
        commands: &mut mpsc::Receiver<LinkCommand>,
    ) -> Result<std::convert::Infallible, Failure> {
        let gone = |gone: client::Gone| Failure::link(gone.0);
        let config = post.config;
        if self.session.connection == Connection::Main {
            let limit = Duration::from_secs(u64::from(config.connect_s_max.max(1)));
            let topic = config.ack_topic.as_str();
            client.subscribe(topic, false).await.map_err(gone)?;
            timeout(limit, self.subscribed.notified())
                .await
                .map_err(|_| Failure::link("the broker does not answer the subscription"))?;
            // Without it nothing is missing but this one service.
            if let Some(topic) = &config.profile_topic {
                client.subscribe(topic.as_str(), true).await.map_err(gone)?;
            }
        }
        let mut stopped = post.stopped.clone();
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                _ = stopped.wait_for(|stop| *stop) => None,
            };
            match command {
                Some(command) if command.session() != self.session => {}
                Some(LinkCommand::Reconnect { .. }) => {
                    return Err(Failure::link("the core gives the connection up"));
                }
                Some(LinkCommand::Publish {
                    token,
                    topic,
                    payload,
                    ..
                }) => {
                    let session = self.session;
                    let len = topic.len() + payload.len() + PUBLISH_OVERHEAD_LEN;
                    if len > self.packet_len_max(post) {
                        self.tell(post, LinkEvent::TooLarge { session, token })
                            .await;
                        continue;
                    }
                    self.wait_for_room(post).await;
                    self.flights.borrow_mut().leaving.push_back(token);
                    client
                        .publish(topic.as_str(), payload)
                        .await
                        .map_err(gone)?;
                }
                None => break,
            }
        }
        while self.flights.borrow().count() > 0 {
            self.landed.notified().await;
        }
        client.disconnect().await.map_err(gone)?;
        // The other half ends the life when the packet has left.
        pending().await
    }

    fn packet_len_max(&self, post: &Post<'_>) -> usize {
        let broker = post.limits.packet_len_max.map(|len| len as usize);
        broker.unwrap_or(usize::MAX).min(post.config.packet_len_max)
    }

    async fn wait_for_room(&self, post: &Post<'_>) {
        let most = post.limits.in_flight_max.map_or(usize::MAX, usize::from);
        while self.flights.borrow().count() >= most.max(1) {
            self.landed.notified().await;
        }
    }

    fn left(&self, packet_id: u16) {
        let mut flights = self.flights.borrow_mut();
        if let Some(token) = flights.leaving.pop_front() {
            flights.flying.insert(packet_id, token);
        }
    }

    fn land(&self, packet_id: u16) -> Option<u64> {
        let token = self.flights.borrow_mut().flying.remove(&packet_id);
        self.landed.notify_one();
        token
    }

    async fn announce(&self, post: &Post<'_>) {
        if post.announced.replace(true) {
            return;
        }
        let session = self.session;
        self.tell(post, LinkEvent::Connected(session)).await;
        if let Some(in_flight_max) = post.limits.in_flight_max {
            let in_flight_max = usize::from(in_flight_max);
            let event = LinkEvent::Limited {
                session,
                in_flight_max,
            };
            self.tell(post, event).await;
        }
        if session.connection == Connection::Main {
            post.main_is_up.send_replace(true);
        }
    }

    async fn tell(&self, post: &Post<'_>, event: LinkEvent) {
        emit(post.events, event, &post.stopped).await;
    }
}
