//! A broker inside this process, for displays on the vehicle. The only file of the gateway that names rumqttd.
//!
//! Promises: `local/alerts/ID` holds the last transition of each alert that is not closed, retained, and
//! `local/alerts/open` the list of those that are open; few connections and little memory. A client that makes
//! its library panic makes it deaf until the next start of the process; alerts then reach the centre, the command
//! and the buzzer, and the log says it. Never: a fleet's broker; whoever may connect may also publish.

use std::collections::HashMap;
use std::net::TcpListener;

use futures_util::FutureExt;
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::config::LocalBrokerConfig;

/// The thread that runs the broker.
pub(super) const THREAD: &str = "local-broker";
/// The thread that its library names after the server.
pub(super) const SERVER_THREAD: &str = "local-mqtt";
/// What everybody listens below.
const TOPIC: &str = "local/alerts";
const CONNECTIONS_MAX: usize = 16;
const PAYLOAD_LEN_MAX: usize = 64 * 1024;
/// Two of these for each filter that somebody subscribes.
const SEGMENT_LEN: usize = 64 * 1024;
const SEGMENTS: usize = 2;

/// A running broker and our way into it.
pub(super) struct LocalBroker {
    sender: LinkTx,
    /// Dropped, it would end our link.
    _receiver: LinkRx,
    is_broken: bool,
}

impl std::fmt::Debug for LocalBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalBroker").finish_non_exhaustive()
    }
}

impl LocalBroker {
    /// Starts it on an address.
    pub(super) fn start(config: &LocalBrokerConfig) -> Result<Self, String> {
        let auth = match &config.login {
            Some(login) => {
                let login = login.read()?;
                Some(HashMap::from([(login.username, login.password)]))
            }
            None => None,
        };
        // The library does not report a failed bind, so it is found out here.
        TcpListener::bind(config.listen).map_err(|error| error.to_string())?;
        let mut broker = Broker::new(broker_config(config, auth));
        let link = broker.link("gateway").map_err(|error| error.to_string())?;
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                if let Err(error) = broker.start() {
                    tracing::error!(%error, "the local broker has ended");
                }
            })
            .map_err(|error| error.to_string())?;
        let (sender, receiver) = link;
        Ok(Self {
            sender,
            _receiver: receiver,
            is_broken: false,
        })
    }

    /// Tells a transition.
    pub(super) fn tell(&mut self, id: &str, json: &[u8], is_over: bool) {
        let topic = format!("{TOPIC}/{id}");
        self.publish(&topic, json, !is_over);
        if is_over {
            // Nothing is what takes a retained message away.
            self.publish(&topic, &[], true);
        }
    }

    /// Tells what is open.
    pub(super) fn tell_open(&mut self, json: &[u8]) {
        self.publish(&format!("{TOPIC}/open"), json, true);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], is_retained: bool) {
        let publish = Publish::new(topic.as_bytes().to_vec(), payload.to_vec(), is_retained);
        let packet = Packet::Publish(publish, None);
        // It never waits but for room in the broker's queue, where nobody else waits for us.
        let sent = self.sender.send(packet).now_or_never();
        let is_broken = !matches!(sent, Some(Ok(_)));
        if is_broken && !self.is_broken {
            tracing::error!("the local broker takes nothing any more");
        }
        self.is_broken = is_broken;
    }
}

fn broker_config(config: &LocalBrokerConfig, auth: Option<HashMap<String, String>>) -> Config {
    let server = ServerSettings {
        name: SERVER_THREAD.to_owned(),
        listen: config.listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: PAYLOAD_LEN_MAX,
            max_inflight_count: 20,
            auth,
            external_auth: None,
            dynamic_filters: false,
        },
    };
    Config {
        id: 0,
        router: RouterConfig {
            max_connections: CONNECTIONS_MAX,
            max_outgoing_packet_count: 50,
            max_segment_size: SEGMENT_LEN,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("mqtt".to_owned(), server)])),
        ..Config::default()
    }
}
