//! `[detector]`: how much memory a stream gets, how often that is kept, when it is told.

use super::{ConfigError, Section};

/// `[detector]`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorConfig {
    /// For sensors that do not say it themselves.
    pub size: DetectorSize,
    /// Time between two snapshots of a model, ms of real time.
    pub snapshot_ms: u64,
    /// The score from which an episode is an alert.
    pub alert_score: f64,
}

/// How much a detector remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectorSize {
    /// None.
    Off,
    /// At most 4 KiB.
    Small,
    /// At most 48 KiB.
    Large,
}

pub(super) const SIZES: [(&str, DetectorSize); 3] = [
    ("small", DetectorSize::Small),
    ("large", DetectorSize::Large),
    ("off", DetectorSize::Off),
];

impl DetectorSize {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

pub(super) fn read(root: &mut Section<'_>) -> Result<DetectorConfig, ConfigError> {
    let mut section = root.section("detector")?;
    let size = section.choice("profile", Some("small"), &SIZES)?;
    // 4 KiB an hour and sensor are nothing for a card; a crash forgets an hour of weeks.
    let snapshot_s = section.integer("snapshot_s", 3600_u32, 1..=86_400)?;
    let alert_score = section.number("alert_score", 0.5, 0.3..=0.95)?;
    root.adopt("detector", section)?;
    Ok(DetectorConfig {
        size,
        snapshot_ms: u64::from(snapshot_s) * 1000,
        alert_score,
    })
}
