//! What the rim needs to know, with its defaults and their reasons.

use firmware_shared::topic::{Leaf, Topic, topic};

use crate::deliver::{ProcessIdentity, will};

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
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
    /// How long a life must last for the bound to fall back, ms.
    pub stable_ms: u64,
    /// How long a stop may wait for the broker's answers, ms.
    pub flush_ms_max: u64,
    /// Commands that may be queued per connection: the window and the reports above it.
    pub commands_max: usize,
    /// Where acknowledgements come in.
    pub ack_topic: Topic,
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
            host: host.into(),
            port,
            credentials: None,
            client_id: format!("{}-{}", identity.device, identity.epoch),
            // A dead link is noticed after a minute, and a mobile network's NAT entry stays alive.
            keep_alive_s: 30,
            connect_s_max: 20,
            packet_len_max: 128 * 1024,
            backoff_ms_min: 1_000,
            backoff_ms_max: 60_000,
            stable_ms: 60_000,
            flush_ms_max: 3_000,
            commands_max: 64,
            ack_topic: topic(prefix, &identity.device, Leaf::Ack)?,
            status_topic: topic(prefix, &identity.device, Leaf::Status)?,
            will: will(identity),
            seed,
        })
    }
}
