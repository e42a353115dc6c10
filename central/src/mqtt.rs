//! The only file that names rumqttc: one connection to the broker, thrown away when it ends.
//!
//! Promises: a fresh client for each connection, because a used one drops or repeats what it should not;
//! publishes are acknowledged to the broker in the order in which they came, and only on the word of the
//! caller; a subscription that the broker refuses ends the connection; while the caller has no room, nothing more is
//! read from the broker. Never: `$share`, a packet beyond the limits, an acknowledgement of another connection's
//! publish, an end because publishes come fast: the broker would send all of them again.

pub(crate) mod publisher;
mod self_test;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
    SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::committer::{Delivery, Place};
use crate::config::External;
use crate::ingest::Answer;
use crate::tls;
pub(crate) use self_test::SelfTest;
use self_test::Trial;

/// The contract's 128 KiB of payload, the topic and the header.
const PACKET_LEN_MAX: usize = 128 * 1024 + 1024;
const KEEP_ALIVE_S: u64 = 15;
const CONNECT_TIMEOUT_S: u64 = 5;
/// How long to wait before a publish is offered again to a caller without room.
const ROOM_RETRY: Duration = Duration::from_millis(2);
/// Requests on their way into the client; the client is drained all the time.
const REQUESTS_MAX: usize = 64;

/// Who connects, where, and what for.
#[derive(Debug, Clone)]
pub(crate) struct LinkConfig {
    pub(crate) reach: External,
    pub(crate) client_id: String,
    /// Whether the broker keeps what comes while we are away, and waits for our acknowledgements.
    pub(crate) is_persistent: bool,
    pub(crate) filters: Vec<String>,
    /// What must come back before the subscription is believed.
    pub(crate) self_test: Option<SelfTest>,
}

/// Stands where a device's name stands; no device can have it.
pub(crate) const SELF: &str = "CENTRE";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Connection(#[from] Box<ConnectionError>),
    #[error("the client is gone: {0}")]
    Client(#[from] ClientError),
    #[error("the broker refuses the subscription to {0}")]
    Subscription(String),
    #[error("cannot read the password: {0}")]
    Password(#[from] std::io::Error),
    #[error("nobody hears what comes any more")]
    Unheard,
    #[error("the broker grants the subscriptions and does not deliver what is published on {0}")]
    SelfTest(String),
    #[error("cannot use {file}: {why}")]
    Tls { file: PathBuf, why: String },
}

/// What the caller does with what is heard.
pub(crate) trait Listener {
    /// All filters are subscribed.
    fn subscribed(&mut self);
    /// A publish.
    fn publish(&mut self, delivery: Delivery) -> Taken;
}

/// What becomes of a publish.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The caller has it.
    Yes,
    /// There is no room; it is to be offered again.
    Later(Delivery),
    /// Nobody hears it any more, which ends the connection.
    Over,
}

/// What the caller has to say while the connection lasts.
pub(crate) struct Voice<'a> {
    pub(crate) said: &'a mut mpsc::Receiver<Answer>,
    pub(crate) acked: &'a mut watch::Receiver<Place>,
}

/// Publishes that wait for their acknowledgement: index and packet id.
type Waiting = RefCell<VecDeque<(u64, u16)>>;

/// One connection from its beginning to its end. Ends without an error when `said` is closed: everything
/// is said, the broker has its acknowledgements and a goodbye.
pub(crate) async fn connection(
    config: &LinkConfig,
    number: u64,
    listener: &mut dyn Listener,
    voice: Voice<'_>,
) -> Result<(), LinkError> {
    let (client, events) = open(config)?;
    let waiting = Waiting::default();
    let filters = config.filters.iter();
    client
        .subscribe_many(filters.map(|f| SubscribeFilter::new(f.clone(), QoS::AtLeastOnce)))
        .await?;
    // Both run side by side and neither is cancelled before the connection is over: a cancelled poll
    // may leave half a packet on the wire.
    tokio::select! {
        end = Ear { client: &client, config, number, waiting: &waiting, index: 0, trial: Trial::new(config.self_test.clone()) }
            .hear(events, listener) => end,
        end = speak(&client, number, voice, &waiting) => Err(end.into()),
    }
}

/// Connects, and leaves: whether a broker answers.
pub(crate) async fn probe(reach: &External, client_id: &str) -> Result<(), LinkError> {
    let config = LinkConfig {
        reach: reach.clone(),
        client_id: client_id.to_owned(),
        is_persistent: false,
        filters: Vec::new(),
        self_test: None,
    };
    let (client, mut events) = open(&config)?;
    loop {
        match events.poll().await.map_err(Box::new)? {
            Event::Incoming(Packet::ConnAck(_)) => client.disconnect().await?,
            Event::Outgoing(rumqttc::Outgoing::Disconnect) => return Ok(()),
            _ => {}
        }
    }
}

/// One message to be left with the broker, and where an answer would come.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) client_id: String,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Heard from before the message is sent until `is_answer` says that it was the answer.
    pub(crate) filter: Option<String>,
}

/// Leaves a retained message with the broker; whether the broker took it before `patience` was over.
pub(crate) async fn send(
    reach: &External,
    parcel: &Parcel,
    patience: Duration,
    is_answer: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<bool, LinkError> {
    let config = LinkConfig {
        reach: reach.clone(),
        client_id: parcel.client_id.clone(),
        is_persistent: false,
        filters: Vec::new(),
        self_test: None,
    };
    let (client, mut events) = open(&config)?;
    let publish = || {
        let (topic, payload) = (parcel.topic.clone(), parcel.payload.clone());
        client.try_publish(topic, QoS::AtLeastOnce, true, payload)
    };
    let mut was_taken = false;
    let work = async {
        loop {
            match events.poll().await.map_err(Box::new)? {
                Event::Incoming(Packet::ConnAck(_)) => match &parcel.filter {
                    Some(filter) => client.try_subscribe(filter, QoS::AtLeastOnce)?,
                    None => publish()?,
                },
                Event::Incoming(Packet::SubAck(ack)) => {
                    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                        let filter = parcel.filter.clone();
                        return Err(LinkError::Subscription(filter.unwrap_or_default()));
                    }
                    publish()?;
                }
                Event::Incoming(Packet::PubAck(_)) => {
                    was_taken = true;
                    if parcel.filter.is_none() {
                        client.try_disconnect()?;
                    }
                }
                Event::Incoming(Packet::Publish(heard)) if is_answer(&heard.payload) => {
                    was_taken = true;
                    client.try_disconnect()?;
                }
                Event::Outgoing(rumqttc::Outgoing::Disconnect) => return Ok(()),
                _ => {}
            }
        }
    };
    // Without an answer in time the message stays with the broker all the same.
    match timeout(patience, work).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(was_taken),
    }
}

fn open(config: &LinkConfig) -> Result<(AsyncClient, EventLoop), LinkError> {
    let reach = &config.reach;
    let mut options = MqttOptions::new(&config.client_id, &reach.host, reach.port);
    options
        .set_keep_alive(Duration::from_secs(KEEP_ALIVE_S))
        .set_clean_session(!config.is_persistent)
        .set_manual_acks(config.is_persistent)
        .set_max_packet_size(PACKET_LEN_MAX, PACKET_LEN_MAX);
    if let Some(login) = &reach.login {
        options.set_credentials(&login.username, login.password()?);
    }
    if let Some(tls) = &reach.tls {
        let config = TlsConfiguration::Rustls(Arc::new(tls::client(tls)?));
        options.set_transport(Transport::tls_with_config(config));
    }
    let (client, mut events) = AsyncClient::new(options, REQUESTS_MAX);
    let mut network = events.network_options();
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    Ok((client, events))
}

/// What is heard of one connection.
struct Ear<'a> {
    client: &'a AsyncClient,
    config: &'a LinkConfig,
    number: u64,
    waiting: &'a Waiting,
    index: u64,
    trial: Trial,
}

impl Ear<'_> {
    async fn hear(
        mut self,
        mut events: EventLoop,
        listener: &mut dyn Listener,
    ) -> Result<(), LinkError> {
        loop {
            match events.poll().await.map_err(Box::new)? {
                Event::Incoming(Packet::ConnAck(ack)) => {
                    self.trial.connected(ack.session_present);
                }
                Event::Incoming(Packet::SubAck(ack)) => {
                    let refused = ack
                        .return_codes
                        .iter()
                        .position(|code| *code == SubscribeReasonCode::Failure);
                    if let Some(at) = refused {
                        let filter = self.config.filters.get(at).cloned();
                        return Err(LinkError::Subscription(filter.unwrap_or_default()));
                    }
                    self.trial.begin(self.client);
                    if self.trial.is_over() {
                        listener.subscribed();
                    }
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    self.publish(publish, listener).await?;
                }
                Event::Outgoing(rumqttc::Outgoing::PingReq) => self.trial.ping(self.client)?,
                Event::Outgoing(rumqttc::Outgoing::Disconnect) => return Ok(()),
                _ => {}
            }
        }
    }

    async fn publish(
        &mut self,
        publish: Publish,
        listener: &mut dyn Listener,
    ) -> Result<(), LinkError> {
        let wants_ack = publish.qos != QoS::AtMostOnce && self.config.is_persistent;
        let was_over = self.trial.is_over();
        let is_ours = self.trial.hear(&publish);
        if !was_over && self.trial.is_over() {
            listener.subscribed();
        }
        if is_ours {
            if wants_ack {
                self.acknowledge_probe(publish.pkid);
            }
            return Ok(());
        }
        self.index += 1;
        if wants_ack {
            self.waiting
                .borrow_mut()
                .push_back((self.index, publish.pkid));
        }
        let mut delivery = Delivery {
            place: Place {
                connection: self.number,
                index: self.index,
            },
            topic: publish.topic,
            payload: publish.payload.to_vec(),
        };
        // Nothing is read meanwhile, so that the broker waits, too. A wait beyond the keep-alive ends the connection
        // there; what is in the caller's hands is stored all the same.
        loop {
            match listener.publish(delivery) {
                Taken::Yes => return Ok(()),
                Taken::Over => return Err(LinkError::Unheard),
                Taken::Later(kept) => delivery = kept,
            }
            timeout(ROOM_RETRY, std::future::pending::<()>()).await.ok();
        }
    }

    /// In order: together with the publish before it, or at once when none waits and there is room.
    fn acknowledge_probe(&self, packet_id: u16) {
        let mut waiting = self.waiting.borrow_mut();
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = packet_id;
        if !waiting.is_empty() || self.client.try_ack(&publish).is_err() {
            waiting.push_back((self.index, packet_id));
        }
    }
}

/// Says what there is to say; ends only when the client is gone.
async fn speak(
    client: &AsyncClient,
    number: u64,
    voice: Voice<'_>,
    waiting: &Waiting,
) -> ClientError {
    match speak_until_gone(client, number, voice, waiting).await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

async fn speak_until_gone(
    client: &AsyncClient,
    number: u64,
    voice: Voice<'_>,
    waiting: &Waiting,
) -> Result<(), ClientError> {
    let Voice { said, acked } = voice;
    loop {
        tokio::select! {
            Ok(()) = acked.changed() => {
                let place = *acked.borrow_and_update();
                acknowledge(client, number, place, waiting).await?;
            }
            answer = said.recv() => match answer {
                Some(answer) => {
                    client
                        .publish(answer.topic, QoS::AtMostOnce, false, answer.payload)
                        .await?;
                }
                None => {
                    let place = *acked.borrow_and_update();
                    acknowledge(client, number, place, waiting).await?;
                    return client.disconnect().await;
                }
            },
        }
    }
}

/// Acknowledges everything up to the place, in order: rumqttd ends a connection that does otherwise.
async fn acknowledge(
    client: &AsyncClient,
    number: u64,
    place: Place,
    waiting: &Waiting,
) -> Result<(), ClientError> {
    if place.connection != number {
        return Ok(());
    }
    let next = || {
        waiting
            .borrow_mut()
            .pop_front_if(|(index, _)| *index <= place.index)
    };
    while let Some((_, packet_id)) = next() {
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = packet_id;
        client.ack(&publish).await?;
    }
    Ok(())
}
