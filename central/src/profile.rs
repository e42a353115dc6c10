//! `fleet-central profile send`: gives a vehicle the profile of its trip, and hears what becomes of it.
//!
//! Promises: the message is retained at the broker, so that a vehicle that is not online gets it when it is;
//! what the vehicle says is its alert of kind `profile` or `profile_refused` with the version in it. Never: a
//! profile judged here; the vehicle knows its sensors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use firmware_shared::alert::Alert;
use firmware_shared::id::DeviceId;
use firmware_shared::topic::{self, Leaf};

use crate::clock;
use crate::config::External;
use crate::mqtt::{self, Parcel};

/// The longest profile, bytes, as the vehicles have it.
const PROFILE_LEN_MAX: usize = 16 * 1024;
/// The command's name in the topic.
const COMMAND: &str = "profile";
const ACCEPTED: &str = "profile";
const REFUSED: &str = "profile_refused";
/// How long a broker may take.
const BROKER_PATIENCE: Duration = Duration::from_secs(20);

/// What is to be sent, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) reach: External,
    pub(crate) prefix: String,
    pub(crate) device: DeviceId,
    pub(crate) file: PathBuf,
    /// How long to wait for the vehicle's answer.
    pub(crate) wait: Duration,
}

/// Sends it; what the vehicle said, or `None` when it has said nothing in time.
///
/// # Errors
/// When the file cannot be used, the broker cannot be reached, or the vehicle refuses.
pub(crate) fn send(send: &Send) -> anyhow::Result<Option<String>> {
    let (payload, version) = read(&send.file)?;
    let of = |leaf| {
        topic::topic(&send.prefix, &send.device, leaf)
            .context("the prefix makes the topic too long")
    };
    let seed = clock::random_u64().context("the operating system gives no random numbers")?;
    let is_waiting = !send.wait.is_zero();
    let alerts = of(Leaf::Alert)?;
    let parcel = Parcel {
        client_id: format!("fleet-profile-{seed:016x}"),
        topic: of(Leaf::Cmd(COMMAND))?.to_string(),
        payload,
        filter: is_waiting.then(|| alerts.to_string()),
    };
    let mut answer = None;
    let mut hear = |payload: &[u8]| {
        let alert: Option<Alert> = serde_json::from_slice(payload).ok();
        let is_answer = |alert: &Alert| {
            [ACCEPTED, REFUSED].contains(&alert.kind.as_str())
                && alert.profile_version == Some(version)
        };
        answer = alert.filter(is_answer);
        answer.is_some()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let patience = BROKER_PATIENCE + send.wait;
    let was_taken = runtime.block_on(mqtt::send(&send.reach, &parcel, patience, &mut hear))?;
    if !was_taken {
        bail!(
            "the broker has not taken the profile within {} s",
            patience.as_secs()
        );
    }
    match answer {
        Some(alert) if alert.kind == REFUSED => bail!("{}: {}", send.device, alert.text),
        answer => Ok(answer.map(|alert| alert.text.to_string())),
    }
}

/// The bytes as they travel, and the version in them.
fn read(file: &Path) -> anyhow::Result<(Vec<u8>, u64)> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{name}: allowed is a profile in TOML or JSON"))?;
    if text.len() > PROFILE_LEN_MAX {
        bail!(
            "{name}: {} bytes; allowed are {PROFILE_LEN_MAX}",
            text.len()
        );
    }
    let table = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<toml::Table>(&text)?,
        false => text.parse::<toml::Table>()?,
    };
    let version = table.get("version").and_then(toml::Value::as_integer);
    let version = version.and_then(|version| u64::try_from(version).ok());
    let Some(version) = version.filter(|version| *version > 0) else {
        bail!(
            "{name}: version is missing; allowed is an integer from 1 that is higher than any before"
        );
    };
    Ok((text.into_bytes(), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_needs_a_version_before_it_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trip");
        let check = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&file)
        };
        assert_eq!(check("version = 7").unwrap().1, 7);
        assert_eq!(check("{\"version\": 8}").unwrap().1, 8);
        for bad in [
            "",
            "version = 0",
            "version = -1",
            "version = \"7\"",
            "{",
            "version",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&format!("version = 7\n# {}", "x".repeat(20_000))).is_err());
        assert!(read(&folder.path().join("none")).is_err());
    }
}
