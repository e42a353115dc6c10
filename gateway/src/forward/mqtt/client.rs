//! The MQTT library's client in one of two versions, behind one set of words.
//!
//! Promises: fresh for each life; a session that begins clean; nothing queued between us and the library;
//! packet limits in both directions; with MQTT 5 the broker's Receive Maximum and packet limit are told and
//! kept, and a PUBACK that is a refusal is told as one. Never: QoS 2.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    StateError, SubscribeReasonCode, Transport, v5,
};

use super::config::{MqttConfig, MqttVersion};
use crate::forward::backoff::Ender;
use crate::forward::transport::{BrokerAddress, Failure, Login, ender_of};

/// Packets that may be in flight. Above our windows: a packet id must not come round again while the broker
/// still owes its answer.
const INFLIGHT_MAX: u16 = 500;
/// The library wants at least this of MQTT 5, s.
pub(super) const KEEP_ALIVE_S_MIN_V5: u16 = 5;

/// What the broker said, or what has just left.
#[derive(Debug)]
pub(super) enum Heard {
    /// We are connected.
    Connected(Limits),
    /// A publish has left under this packet id.
    Left(u16),
    /// The broker has taken it.
    Taken(u16),
    /// The broker has refused it, and why.
    Refused(u16, String),
    /// A message for us, and its topic.
    Message(String, Vec<u8>),
    /// The subscription stands.
    Subscribed,
    /// The subscription is refused.
    NotSubscribed,
    /// The broker says goodbye.
    Goodbye,
    /// Our own goodbye has left.
    Closed,
    /// Anything else that the broker sent: it lives.
    Alive,
    /// Anything else that we sent.
    Nothing,
}

/// What the broker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Messages in flight.
    pub(super) in_flight_max: Option<u16>,
    /// Bytes of a packet.
    pub(super) packet_len_max: Option<u32>,
    /// Seconds between two pings, if it is not content with ours.
    pub(super) keep_alive_s: Option<u16>,
}

/// The half that asks.
#[derive(Debug, Clone)]
pub(super) enum Client {
    V4(AsyncClient),
    V5(v5::AsyncClient),
}

/// The half that moves packets.
pub(super) enum Mover {
    V4(Box<EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// The library's client has gone, and its words.
#[derive(Debug)]
pub(super) struct Gone(pub(super) String);

/// Where the library is to dial.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Tcp(&'a BrokerAddress),
    /// A local socket.
    Relay(&'a str),
}

/// A client and its mover. `has_will` leaves the last will with the broker.
pub(super) fn open(
    config: &MqttConfig,
    client_id: &str,
    target: &Target<'_>,
    login: Option<&Login>,
    has_will: bool,
) -> (Client, Mover) {
    match config.version {
        MqttVersion::V3_1_1 => open_v4(config, client_id, target, login, has_will),
        MqttVersion::V5 => open_v5(config, client_id, target, login, has_will),
    }
}

fn open_v4(
    config: &MqttConfig,
    client_id: &str,
    target: &Target<'_>,
    login: Option<&Login>,
    has_will: bool,
) -> (Client, Mover) {
    let (host, port) = dialled(target);
    let mut options = MqttOptions::new(client_id, host, port);
    options
        .set_clean_session(true)
        .set_keep_alive(Duration::from_secs(u64::from(config.pings_s())))
        .set_inflight(INFLIGHT_MAX)
        .set_max_packet_size(config.packet_len_max, config.packet_len_max);
    if matches!(target, Target::Relay(_)) {
        options.set_transport(Transport::Unix);
    }
    if let Some(login) = login {
        options.set_credentials(&login.username, &login.password);
    }
    if has_will {
        let (topic, will) = (config.status_topic.as_str(), config.will.clone());
        options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, false));
    }
    // No capacity: what the library would drop at the end of a life cannot pile up in it.
    let (client, mut mover) = AsyncClient::new(options, 0);
    let mut network = mover.network_options();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(u64::from(config.connect_s_max.max(1)));
    mover.set_network_options(network);
    (Client::V4(client), Mover::V4(Box::new(mover)))
}

fn open_v5(
    config: &MqttConfig,
    client_id: &str,
    target: &Target<'_>,
    login: Option<&Login>,
    has_will: bool,
) -> (Client, Mover) {
    let (host, port) = dialled(target);
    let mut options = v5::MqttOptions::new(client_id, host, port);
    options
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(u64::from(config.pings_s())))
        .set_connection_timeout(u64::from(config.connect_s_max.max(1)))
        // Without it the library keeps a table of 10 MiB.
        .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
        .set_max_packet_size(u32::try_from(config.packet_len_max).ok());
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if matches!(target, Target::Relay(_)) {
        options.set_transport(Transport::Unix);
    }
    if let Some(login) = login {
        options.set_credentials(&login.username, &login.password);
    }
    if has_will {
        let (topic, will) = (config.status_topic.as_str(), config.will.clone());
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        options.set_last_will(v5::mqttbytes::v5::LastWill::new(
            topic, will, qos, false, None,
        ));
    }
    let (client, mover) = v5::AsyncClient::new(options, 0);
    (Client::V5(client), Mover::V5(Box::new(mover)))
}

fn dialled(target: &Target<'_>) -> (String, u16) {
    match target {
        Target::Tcp(address) if address.host.contains(':') => {
            (format!("[{}]", address.host), address.port)
        }
        Target::Tcp(address) => (address.host.clone(), address.port),
        Target::Relay(name) => ((*name).to_owned(), 0),
    }
}

impl Client {
    /// Acknowledgements repeat themselves; commands are sent once, and `is_kept` has the broker repeat them.
    pub(super) async fn subscribe(&self, topic: &str, is_kept: bool) -> Result<(), Gone> {
        use v5::mqttbytes::QoS as QoS5;
        let (qos, qos5) = match is_kept {
            true => (QoS::AtLeastOnce, QoS5::AtLeastOnce),
            false => (QoS::AtMostOnce, QoS5::AtMostOnce),
        };
        match self {
            Self::V4(client) => client
                .subscribe(topic, qos)
                .await
                .map_err(|error| Gone(error.to_string())),
            Self::V5(client) => client
                .subscribe(topic, qos5)
                .await
                .map_err(|error| Gone(error.to_string())),
        }
    }

    pub(super) async fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), Gone> {
        match self {
            Self::V4(client) => client
                .publish(topic, QoS::AtLeastOnce, false, payload)
                .await
                .map_err(|error| Gone(error.to_string())),
            Self::V5(client) => client
                .publish(topic, v5::mqttbytes::QoS::AtLeastOnce, false, payload)
                .await
                .map_err(|error| Gone(error.to_string())),
        }
    }

    pub(super) async fn disconnect(&self) -> Result<(), Gone> {
        match self {
            Self::V4(client) => client
                .disconnect()
                .await
                .map_err(|error| Gone(error.to_string())),
            Self::V5(client) => client
                .disconnect()
                .await
                .map_err(|error| Gone(error.to_string())),
        }
    }
}

impl Mover {
    /// What happens next. After an error the life is over: the next call would begin another one.
    pub(super) async fn next(&mut self) -> Result<Heard, Failure> {
        match self {
            Self::V4(mover) => match mover.poll().await {
                Ok(event) => Ok(heard_v4(event)),
                Err(error) => Err(failure_v4(&error)),
            },
            Self::V5(mover) => match mover.poll().await {
                Ok(event) => Ok(heard_v5(event)),
                Err(error) => Err(failure_v5(&error)),
            },
        }
    }
}

fn heard_v4(event: Event) -> Heard {
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Heard::Left(packet_id),
        Event::Outgoing(Outgoing::Disconnect) => Heard::Closed,
        Event::Outgoing(_) => Heard::Nothing,
        Event::Incoming(Packet::ConnAck(_)) => Heard::Connected(Limits::default()),
        Event::Incoming(Packet::PubAck(ack)) => Heard::Taken(ack.pkid),
        Event::Incoming(Packet::Publish(message)) => {
            Heard::Message(message.topic, message.payload.to_vec())
        }
        Event::Incoming(Packet::SubAck(answer)) => {
            if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                Heard::NotSubscribed
            } else {
                Heard::Subscribed
            }
        }
        Event::Incoming(Packet::Disconnect) => Heard::Goodbye,
        Event::Incoming(_) => Heard::Alive,
    }
}

fn heard_v5(event: v5::Event) -> Heard {
    use v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
    match event {
        v5::Event::Outgoing(Outgoing::Publish(packet_id)) => Heard::Left(packet_id),
        v5::Event::Outgoing(Outgoing::Disconnect) => Heard::Closed,
        v5::Event::Outgoing(_) => Heard::Nothing,
        v5::Event::Incoming(Packet::ConnAck(answer)) => {
            let properties = answer.properties.as_ref();
            Heard::Connected(Limits {
                in_flight_max: properties.and_then(|p| p.receive_max),
                packet_len_max: properties.and_then(|p| p.max_packet_size),
                keep_alive_s: properties.and_then(|p| p.server_keep_alive),
            })
        }
        v5::Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Heard::Taken(ack.pkid),
            reason => Heard::Refused(ack.pkid, format!("{reason:?}")),
        },
        v5::Event::Incoming(Packet::Publish(message)) => {
            let topic = String::from_utf8_lossy(&message.topic).into_owned();
            Heard::Message(topic, message.payload.to_vec())
        }
        v5::Event::Incoming(Packet::SubAck(answer)) => {
            let mut codes = answer.return_codes.iter();
            if codes.all(|code| matches!(code, SubscribeReasonCode::Success(_))) {
                Heard::Subscribed
            } else {
                Heard::NotSubscribed
            }
        }
        v5::Event::Incoming(Packet::Disconnect(_)) => Heard::Goodbye,
        v5::Event::Incoming(_) => Heard::Alive,
    }
}

fn failure_v4(error: &ConnectionError) -> Failure {
    let ender = match error {
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => {
            ender_of(error.kind())
        }
        ConnectionError::MqttState(StateError::Deserialization(error)) => ender_of_codec(error),
        ConnectionError::MqttState(StateError::ConnectionAborted)
        | ConnectionError::ConnectionRefused(_) => Ender::Broker,
        _ => Ender::Link,
    };
    Failure {
        ender,
        why: error.to_string(),
    }
}

/// The library hides the errors of sockets among those of packets.
fn ender_of_codec(error: &rumqttc::mqttbytes::Error) -> Ender {
    match error {
        rumqttc::mqttbytes::Error::Io(error) => ender_of(error.kind()),
        _ => Ender::Link,
    }
}

fn failure_v5(error: &v5::ConnectionError) -> Failure {
    let ender = match error {
        v5::ConnectionError::Io(error)
        | v5::ConnectionError::MqttState(v5::StateError::Io(error)) => ender_of(error.kind()),
        v5::ConnectionError::MqttState(
            v5::StateError::ConnectionAborted
            | v5::StateError::ServerDisconnect { .. }
            | v5::StateError::ConnFail { .. },
        )
        | v5::ConnectionError::ConnectionRefused(_) => Ender::Broker,
        _ => Ender::Link,
    };
    Failure {
        ender,
        why: error.to_string(),
    }
}
