//! Topics: `{prefix}/{bucket}/{device}/{leaf}`.
//!
//! Promises: at most 7 slashes and 256 bytes (AWS IoT Core); the bucket is a function of the device alone,
//! so that any broker keeps a device in one place. Never: `$share`, which spreads a device over workers or,
//! on NATS, silently delivers nothing.

use core::fmt::Write;

use crate::checksum::crc32;
use crate::id::{DeviceId, Lane};

/// The prefix of the contract.
pub const PREFIX_DEFAULT: &str = "fleet/v1";
/// How many buckets there are.
pub const BUCKETS: u8 = 64;
/// The longest topic, bytes.
pub const TOPIC_LEN_MAX: usize = 128;

/// A topic as text.
pub type Topic = heapless::String<TOPIC_LEN_MAX>;

/// The last part of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// Sealed batches of readings.
    Telemetry,
    /// Alerts as JSON.
    Alert,
    /// Sealed batches about the gateway, losses, time anchors.
    Health,
    /// Births, heartbeats, goodbyes and wills.
    Status,
    /// Acknowledgements and refusals, centre to device.
    Ack,
    /// A command, centre to device.
    Cmd(&'a str),
}

impl<'a> Leaf<'a> {
    /// The leaf on which a lane's frames travel.
    #[must_use]
    pub fn of_lane(lane: Lane) -> Self {
        match lane {
            Lane::Alert => Self::Alert,
            Lane::Telemetry => Self::Telemetry,
            Lane::Health => Self::Health,
        }
    }

    fn parse(text: &'a str) -> Option<Self> {
        Some(match text {
            "telemetry" => Self::Telemetry,
            "alert" => Self::Alert,
            "health" => Self::Health,
            "status" => Self::Status,
            "ack" => Self::Ack,
            _ => Self::Cmd(
                text.strip_prefix("cmd/")
                    .filter(|name| !name.contains('/'))?,
            ),
        })
    }
}

/// The bucket of a device: CRC-32 modulo 64.
#[must_use]
pub fn bucket(device: &DeviceId) -> u8 {
    (crc32(device.as_str().as_bytes()) % u32::from(BUCKETS)) as u8
}

/// Whether a text may be a topic prefix: 1 to 48 bytes, no wildcard, no empty level, at most 3 slashes.
#[must_use]
pub fn is_valid_prefix(prefix: &str) -> bool {
    (1..=48).contains(&prefix.len())
        && prefix.split('/').count() <= 4
        && prefix.split('/').all(|level| {
            !level.is_empty()
                && level
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
}

/// The topic of a device's leaf; `None` when the prefix or command name makes it too long.
#[must_use]
pub fn topic(prefix: &str, device: &DeviceId, leaf: Leaf<'_>) -> Option<Topic> {
    let mut text = Topic::new();
    write!(text, "{prefix}/{:02x}/{device}/", bucket(device)).ok()?;
    match leaf {
        Leaf::Telemetry => text.push_str("telemetry").ok()?,
        Leaf::Alert => text.push_str("alert").ok()?,
        Leaf::Health => text.push_str("health").ok()?,
        Leaf::Status => text.push_str("status").ok()?,
        Leaf::Ack => text.push_str("ack").ok()?,
        Leaf::Cmd(name) => write!(text, "cmd/{name}").ok()?,
    }
    Some(text)
}

/// What a topic says; `None` when it is not one of ours or names a device in another's bucket.
#[must_use]
pub fn parse<'a>(prefix: &str, topic: &'a str) -> Option<(DeviceId, Leaf<'a>)> {
    let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?;
    let (bucket_text, rest) = rest.split_once('/')?;
    let (device, leaf) = rest.split_once('/')?;
    let device: DeviceId = device.parse().ok()?;
    let mut expected = heapless::String::<2>::new();
    write!(expected, "{:02x}", bucket(&device)).ok()?;
    (expected == bucket_text).then_some(())?;
    Some((device, Leaf::parse(leaf)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_back_as_it_was_made() {
        let device: DeviceId = "truck-001".parse().unwrap();
        for leaf in [
            Leaf::Telemetry,
            Leaf::Alert,
            Leaf::Health,
            Leaf::Status,
            Leaf::Ack,
            Leaf::Cmd("profile"),
        ] {
            let text = topic(PREFIX_DEFAULT, &device, leaf).unwrap();
            assert!(text.matches('/').count() <= 7);
            assert_eq!(parse(PREFIX_DEFAULT, &text), Some((device.clone(), leaf)));
        }
    }

    #[test]
    fn the_bucket_is_frozen() {
        // If this fails, do not change the test: every deployed device would move to another bucket.
        for (device, expected) in [("truck-001", 0x04), ("truck-002", 0x3e), ("a", 0x03)] {
            assert_eq!(bucket(&device.parse().unwrap()), expected, "{device}");
        }
    }

    #[test]
    fn a_foreign_topic_is_nobody() {
        for text in [
            "",
            "fleet/v1",
            "fleet/v1/3f/truck-001/telemetry",
            "fleet/v1/04/TRUCK/telemetry",
            "fleet/v1/04/truck-001/other",
            "fleet/v1/04/truck-001/cmd/a/b",
            "fleet/v2/04/truck-001/telemetry",
        ] {
            assert_eq!(parse(PREFIX_DEFAULT, text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_with_wildcards_or_holes_are_refused() {
        assert!(is_valid_prefix("fleet/v1"));
        for prefix in ["", "/a", "a/", "a//b", "a/+", "#", "$share/g", "a/b/c/d/e"] {
            assert!(!is_valid_prefix(prefix), "{prefix}");
        }
    }
}
