//! The library, and our way into it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use futures_util::FutureExt;
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::input::{Message, Settings};

const CONNECTIONS_MAX: usize = 16;
const PAYLOAD_LEN_MAX: usize = 64 * 1024;
/// Two of these for each filter that somebody subscribes.
const SEGMENT_LEN: usize = 64 * 1024;
const SEGMENTS: usize = 2;

/// A running broker.
pub(crate) struct Broker {
    sender: LinkTx,
    /// Dropped, it would end our link.
    _receiver: LinkRx,
}

/// It cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    Bind {
        listen: SocketAddr,
        source: io::Error,
    },
    Library(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind { listen, source } => write!(f, "cannot listen on {listen}: {source}"),
            Self::Library(reason) => write!(f, "the library has ended: {reason}"),
        }
    }
}

impl Broker {
    pub(crate) fn start(settings: Settings) -> Result<Self, Broken> {
        let listen = settings.listen;
        // The library does not report a failed bind, so it is found out here.
        TcpListener::bind(listen).map_err(|source| Broken::Bind { listen, source })?;
        let mut broker = rumqttd::Broker::new(config(settings));
        let library = |error: String| Broken::Library(error);
        let link = broker.link("gateway").map_err(|e| library(e.to_string()))?;
        std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || {
                let end = broker.start();
                // It returns only when nobody is served any more.
                let reason =
                    end.map_or_else(|error| error.to_string(), |()| "no server".to_owned());
                crate::say(&Broken::Library(reason).to_string());
                std::process::exit(1);
            })
            .map_err(|e| library(e.to_string()))?;
        let (sender, receiver) = link;
        Ok(Self {
            sender,
            _receiver: receiver,
        })
    }

    pub(crate) fn publish(&mut self, message: Message) -> Result<(), Broken> {
        let publish = Publish::new(message.topic, message.payload, message.is_retained);
        let packet = Packet::Publish(publish, None);
        // It waits for room in the library's queue, but by blocking: the future is ready at once.
        match self.sender.send(packet).now_or_never() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Broken::Library(error.to_string())),
            None => Err(Broken::Library("it takes nothing".to_owned())),
        }
    }
}

fn config(settings: Settings) -> Config {
    let auth = settings
        .login
        .map(|login| HashMap::from([(login.username, login.password)]));
    let server = ServerSettings {
        name: "mqtt".to_owned(),
        listen: settings.listen,
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
