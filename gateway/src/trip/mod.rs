//! The trip: which profile is in force, which comes next, and what becomes of another one.
//!
//! Promises: a profile is taken when its version is higher than any before, whoever sends it; it is in force
//! at its time, and waits for UTC when it names one; what is refused changes nothing and says why; both
//! outlive the process. Never: a clock, a file (the shell keeps it).

use std::path::Path;

use firmware_shared::checksum::crc32c;
use serde::{Deserialize, Serialize};

use crate::alert::utc_text;
use crate::config::{LimitRule, SensorConfig, TripProfile};

/// Who offers a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody on the vehicle; a profile without a version gets the next one.
    Vehicle,
    /// The centre.
    Centre,
}

/// What became of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Taken; whether it is in force already.
    Accepted {
        /// Its version.
        version: u64,
        /// Whether it is in force.
        in_force: bool,
        /// What people read.
        text: String,
    },
    /// It had been taken before, or refused: nothing new.
    Known {
        /// Its version, if it could be read.
        version: Option<u64>,
    },
    /// Not taken.
    Refused {
        /// Its version, if it could be read.
        version: Option<u64>,
        /// Why.
        text: String,
    },
}

/// What the next process needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Kept {
    version: u64,
    current: Option<String>,
    next: Option<String>,
}

/// The profiles of a device.
#[derive(Debug)]
pub struct TripDesk {
    sensors: Vec<SensorConfig>,
    /// The highest version that was taken.
    version: u64,
    current: Option<TripProfile>,
    next: Option<TripProfile>,
    /// What was refused last: a broker repeats what it keeps at every connection.
    refused_crc: Option<u32>,
}

impl TripDesk {
    /// No trip.
    pub fn new<'a>(sensors: impl IntoIterator<Item = &'a SensorConfig>) -> Self {
        Self {
            sensors: sensors.into_iter().cloned().collect(),
            version: 0,
            current: None,
            next: None,
            refused_crc: None,
        }
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Option<&TripProfile> {
        self.current.as_ref()
    }

    /// What waits for its time.
    #[must_use]
    pub fn next(&self) -> Option<&TripProfile> {
        self.next.as_ref()
    }

    /// What the profile in force allows a sensor; empty when it says nothing about it.
    #[must_use]
    pub fn limits_of(&self, index: u8) -> Vec<&LimitRule> {
        let sensor = self.sensors.iter().find(|sensor| sensor.index == index);
        let (Some(sensor), Some(current)) = (sensor, &self.current) else {
            return Vec::new();
        };
        let limits = current.limits.iter().filter(|limit| limit.is_for(sensor));
        limits.map(|limit| &limit.rule).collect()
    }

    /// Takes a profile, or says why not.
    pub fn offer(&mut self, utc_ms: Option<i64>, origin: Origin, text: &[u8]) -> Answer {
        let crc = crc32c(text);
        let answer = match self.read(origin, text) {
            Ok(profile) => self.judge(utc_ms, profile),
            Err((version, text)) => Answer::Refused { version, text },
        };
        match answer {
            // On the vehicle somebody waits for the reason.
            Answer::Refused { version, .. }
                if origin == Origin::Centre && self.refused_crc == Some(crc) =>
            {
                Answer::Known { version }
            }
            Answer::Refused { .. } => {
                self.refused_crc = Some(crc);
                answer
            }
            answer => answer,
        }
    }

    fn read(&self, origin: Origin, text: &[u8]) -> Result<TripProfile, (Option<u64>, String)> {
        let (name, next_version) = match origin {
            Origin::Vehicle => ("profile", Some(self.version.saturating_add(1))),
            Origin::Centre => ("cmd/profile", None),
        };
        let text = std::str::from_utf8(text)
            .map_err(|_| (None, format!("{name}: allowed is text in UTF-8")))?;
        TripProfile::parse(Path::new(name), text, next_version, &self.sensors)
            .map_err(|error| (version_in(text), error.to_string()))
    }

    fn judge(&mut self, utc_ms: Option<i64>, profile: TripProfile) -> Answer {
        let version = profile.version;
        if version < self.version {
            let text = format!("version {version} is older than {}", self.version);
            let version = Some(version);
            return Answer::Refused { version, text };
        }
        if version == self.version {
            let mut known = [&self.current, &self.next].into_iter().flatten();
            if known.any(|known| *known == profile) {
                let version = Some(version);
                return Answer::Known { version };
            }
            let text = format!("version {version} is known with other contents");
            let version = Some(version);
            return Answer::Refused { version, text };
        }
        self.version = version;
        let from = profile.effective_utc_ms;
        let load = profile.load_id.as_ref();
        let load = load.map_or(String::new(), |load| format!(" for load {load}"));
        self.next = Some(profile);
        let in_force = self.turn(utc_ms);
        let when = match (in_force, from.and_then(utc_text)) {
            (true, _) | (false, None) => "it is in force".to_owned(),
            (false, Some(from)) if utc_ms.is_none() => {
                format!("it will be in force from {from}, once the time is known")
            }
            (false, Some(from)) => format!("it will be in force from {from}"),
        };
        Answer::Accepted {
            version,
            in_force,
            text: format!("profile {version}{load} is accepted; {when}"),
        }
    }

    /// Lets time pass: whether the next profile is in force from here on.
    pub fn turn(&mut self, utc_ms: Option<i64>) -> bool {
        let is_due = self.next.as_ref().is_some_and(|next| {
            let from_ms = next.effective_utc_ms;
            from_ms.is_none_or(|from_ms| utc_ms.is_some_and(|utc_ms| utc_ms >= from_ms))
        });
        if is_due {
            self.current = self.next.take();
        }
        is_due
    }

    /// What the next process needs.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        let text = |profile: &Option<TripProfile>| Some(profile.as_ref()?.text.clone());
        let kept = Kept {
            version: self.version,
            current: text(&self.current),
            next: text(&self.next),
        };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Goes on with what an earlier process kept.
    ///
    /// # Errors
    /// What of it cannot be used, in a sentence; the rest is.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        self.version = kept.version;
        let read = |text: Option<String>| {
            let parse =
                |text: String| TripProfile::parse(Path::new("profile"), &text, None, &self.sensors);
            text.map(parse)
                .transpose()
                .map_err(|error| error.to_string())
        };
        let (current, next) = (read(kept.current), read(kept.next));
        let error = [&current, &next]
            .into_iter()
            .find_map(|read| read.clone().err());
        self.current = current.ok().flatten();
        self.next = next.ok().flatten();
        error.map_or(Ok(()), Err)
    }
}

/// The version of a profile in which something else is wrong.
fn version_in(text: &str) -> Option<u64> {
    let table = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<toml::Table>(text).ok()?,
        false => text.parse::<toml::Table>().ok()?,
    };
    let version = table.get("version")?.as_integer()?;
    u64::try_from(version).ok()
}

#[cfg(test)]
mod tests;
