//! What the rim needs to know, with its defaults and their reasons.

use firmware_shared::topic::{Leaf, Topic, topic};

use super::client::KEEP_ALIVE_S_MIN_V5;
use crate::deliver::{ProcessIdentity, will};
use crate::forward::backoff::MAIN_BOUNDS;
use crate::forward::transport::{Access, BrokerAddress, Route, TimeFloor};

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// Every broker knows it.
    V3_1_1,
    /// The broker says why it refuses, and how much it takes at once.
    V5,
}

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// The brokers, the preferred one first.
    pub brokers: Vec<BrokerAddress>,
    /// How to get there.
    pub route: Route,
    /// Reads passwords and certificates at every connection.
    pub access: Access,
    /// The earliest time at which a certificate may have to be valid.
    pub floor: TimeFloor,
    /// The version of the protocol.
    pub version: MqttVersion,
    /// Begins both client ids; unique per process start.
    pub client_id: String,
    /// Seconds between pings, at least 1.
    pub keep_alive_s: u16,
    /// How long connecting and subscribing may take each, s.
    pub connect_s_max: u16,
    /// The longest packet in either direction, bytes.
    pub packet_len_max: usize,
    /// First bound of the random wait before another attempt, ms.
    pub backoff_ms_min: u64,
    /// Last bound of the random wait, ms.
    pub backoff_ms_max: u64,
    /// First bound of the random wait after the broker ended a connection, ms.
    pub spread_ms: u64,
    /// How long, up to twice this, a connection to a later broker lasts before the first is tried, ms.
    pub return_ms: u64,
    /// How long a life must last for the bound to fall back, ms.
    pub stable_ms: u64,
    /// How long a stop may wait for the broker's answers, ms.
    pub flush_ms_max: u64,
    /// Commands that may be queued per connection: the window and the reports above it.
    pub commands_max: usize,
    /// Where acknowledgements come in.
    pub ack_topic: Topic,
    /// Where profiles of trips come in, if they are listened for.
    pub profile_topic: Option<Topic>,
    /// Where the last will goes.
    pub status_topic: Topic,
    /// The last will.
    pub will: Vec<u8>,
    /// Seed of the random waits.
    pub seed: u64,
}

impl MqttConfig {
    /// The defaults of the product; `None` when the prefix makes the topics too long.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        port: u16,
        prefix: &str,
        identity: &ProcessIdentity,
        seed: u64,
    ) -> Option<Self> {
        Some(Self {
            brokers: vec![BrokerAddress {
                host: host.into(),
                port,
            }],
            route: Route::default(),
            access: Access::open(),
            floor: TimeFloor::default(),
            version: MqttVersion::V3_1_1,
            client_id: format!("{}-{}", identity.device, identity.epoch),
            // A dead link is noticed after a minute, and a mobile network's NAT entry stays alive.
            keep_alive_s: 30,
            connect_s_max: 20,
            packet_len_max: 128 * 1024,
            backoff_ms_min: MAIN_BOUNDS.min_ms,
            backoff_ms_max: MAIN_BOUNDS.max_ms,
            spread_ms: MAIN_BOUNDS.spread_ms,
            return_ms: 600_000,
            stable_ms: 60_000,
            flush_ms_max: 3_000,
            commands_max: 512,
            ack_topic: topic(prefix, &identity.device, Leaf::Ack)?,
            profile_topic: topic(prefix, &identity.device, Leaf::Cmd("profile")),
            status_topic: topic(prefix, &identity.device, Leaf::Status)?,
            will: will(identity),
            seed,
        })
    }

    pub(super) fn is_profile_topic(&self, topic: &str) -> bool {
        let wanted = self.profile_topic.as_ref();
        wanted.is_some_and(|wanted| wanted.as_str() == topic)
    }

    /// Seconds between two pings.
    pub(crate) fn pings_s(&self) -> u16 {
        match self.version {
            MqttVersion::V3_1_1 => self.keep_alive_s.max(1),
            MqttVersion::V5 => self.keep_alive_s.max(KEEP_ALIVE_S_MIN_V5),
        }
    }
}
