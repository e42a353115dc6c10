//! What the simulated buses handed out, as they wrote it down themselves.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// Everything that one vehicle's buses handed out.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Temperature registers that were read with a conversion result in them.
    pub temperatures: Vec<Temperature>,
    /// Navigation epochs that were read to their last byte.
    pub epochs: Vec<NavEpoch>,
}

/// One temperature that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temperature {
    /// Virtual CLOCK_BOOTTIME, ms.
    pub t_ms: u64,
    /// Address on the bus.
    pub address: u8,
    /// The register, 1/128 degC.
    pub raw: i16,
}

/// One navigation epoch that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NavEpoch {
    /// Virtual CLOCK_BOOTTIME when the last byte was read, ms.
    pub t_ms: u64,
    /// Address on the bus.
    pub address: u8,
    /// Ordinal in the log or on the route.
    pub n: u64,
    /// Whether the receiver vouched for the fix.
    pub valid: bool,
    /// Latitude, 1e-7 degree, if there was one.
    pub lat_1e7: Option<i64>,
    /// Longitude, 1e-7 degree, if there was one.
    pub lon_1e7: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Line {
    /// Missing in the lines that only say where a world or a replay began.
    t_ms: Option<u64>,
    chip: Option<String>,
    address: Option<u8>,
    raw: Option<i16>,
    n: Option<u64>,
    valid: Option<bool>,
    lat_1e7: Option<i64>,
    lon_1e7: Option<i64>,
}

impl Truth {
    /// Reads a truth file; lines that only say where the world began hold no reading.
    ///
    /// # Errors
    /// When the file is missing or a line is not what the simulated bus writes.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut truth = Self::default();
        // A line without an end is being written, or was torn by a kill: nobody has been given it.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (at, line) in whole.lines().enumerate() {
            let place = || format!("{} line {}: {line}", path.display(), at + 1);
            truth
                .take(serde_json::from_str(line).with_context(place)?)
                .with_context(place)?;
        }
        Ok(truth)
    }

    fn take(&mut self, line: Line) -> anyhow::Result<()> {
        let (Some(t_ms), Some(chip), Some(address)) = (line.t_ms, &line.chip, line.address) else {
            return Ok(());
        };
        match chip.as_str() {
            "tmp117" => self.temperatures.push(Temperature {
                t_ms,
                address,
                raw: line.raw.context("no raw")?,
            }),
            "ublox" => self.epochs.push(NavEpoch {
                t_ms,
                address,
                n: line.n.context("no n")?,
                valid: line.valid.context("no valid")?,
                lat_1e7: line.lat_1e7,
                lon_1e7: line.lon_1e7,
            }),
            other => anyhow::bail!("an unknown chip {other:?}"),
        }
        Ok(())
    }

    /// Epochs with a fix that the receiver vouched for.
    pub fn fixes(&self) -> impl Iterator<Item = &NavEpoch> {
        self.epochs.iter().filter(|epoch| epoch.valid)
    }

    /// How many readings the buses handed out: temperatures and valid fixes.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.temperatures.len() + self.fixes().count()
    }

    /// The stamp of the last thing that was handed out, ms.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        let temperature = self.temperatures.last().map_or(0, |t| t.t_ms);
        temperature.max(self.epochs.last().map_or(0, |e| e.t_ms))
    }
}
