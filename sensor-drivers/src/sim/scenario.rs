//! Scenario files: which chips are on the simulated bus, and what happens to them.
//!
//! Promises: unknown keys, impossible values and missing files are refused with one sentence that
//! names file, key, value and what is allowed; a scenario whose truth file exists goes on where
//! that file ends. Never: a silent default for a value that was given.
//!
//! The format, every chip and every event are described in `SCENARIOS.md` of this crate, whose
//! examples are tests.

use std::io;
use std::path::{Path, PathBuf};

use super::SimWorld;
use super::boot::SimBootId;
use super::bus::{SimBus, SimBusError};
use super::clock::SimClock;
use super::fault::FaultScript;
use super::log::RecordedLog;
use super::truth::{TruthFile, TruthHeader, TruthPast};
use crate::lm75::Lm75Part;
use crate::mcp960x::Mcp960xPart;

mod check;
mod events;
mod file;
mod plan;
use check::Refusal;
use plan::{ChipPlan, Receiver, Thermometer, later};

/// A scenario cannot be used. Only a person can help.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, an unknown key, a missing key or a wrong type.
    #[error("{path}: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what, with the keys that are allowed.
        message: String,
    },
    /// A value that is not allowed.
    #[error("{path}: {key} = {value} is not allowed: use {allowed}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What it says.
        value: String,
        /// What it may say.
        allowed: &'static str,
    },
    /// The truth file belongs to another run of the machine.
    #[error(
        "{path}: written in another boot (it begins at {t0_real_ms} ms, the machine is up for \
         {now_ms} ms): move it away to begin anew"
    )]
    OtherBoot {
        /// The truth file.
        path: PathBuf,
        /// Real boot time in its first line.
        t0_real_ms: u64,
        /// Real boot time at loading.
        now_ms: u64,
    },
}

/// A scenario file that has been read and checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    path: PathBuf,
    speed_x: f64,
    seed: u64,
    truth_file: Option<PathBuf>,
    chips: Vec<ChipPlan>,
}

impl Scenario {
    /// Reads a scenario and builds its world at the real boot time `boottime_now_ms`.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn load(path: &Path, boottime_now_ms: u64) -> Result<SimWorld, ScenarioError> {
        Self::read(path)?.build(boottime_now_ms)
    }

    /// Reads and checks a scenario and the logs it names, and touches nothing.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| file_error(path, source))?;
        let file: file::ScenarioFile =
            toml::from_str(&text).map_err(|error| ScenarioError::Syntax {
                path: path.into(),
                message: error.to_string(),
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let refuse = |refusal: Refusal| {
            let Refusal {
                key,
                value,
                allowed,
            } = refusal;
            ScenarioError::Value {
                path: path.into(),
                key,
                value,
                allowed,
            }
        };
        check::world(&file).map_err(refuse)?;
        let chips = file
            .chip
            .iter()
            .enumerate()
            .map(|(index, chip)| plan(index, chip, folder, file.seed, refuse));
        Ok(Self {
            path: path.into(),
            speed_x: file.speed_x,
            seed: file.seed,
            truth_file: file.truth_file.as_ref().map(|truth| folder.join(truth)),
            chips: chips.collect::<Result<_, _>>()?,
        })
    }

    /// The same without a truth file: for a look that shall leave nothing behind.
    #[must_use]
    pub fn without_truth(mut self) -> Self {
        self.truth_file = None;
        self
    }

    /// Virtual seconds per real second.
    #[must_use]
    pub fn speed_x(&self) -> f64 {
        self.speed_x
    }

    /// Builds the world at the real boot time `now_ms`, taking up an existing truth file.
    ///
    /// # Errors
    /// The truth file cannot be used.
    pub fn build(&self, now_ms: u64) -> Result<SimWorld, ScenarioError> {
        let (truth, past, boot_id) = self.open_truth(now_ms)?;
        let (t0_virtual_ms, t0_real_ms) = past.as_ref().map_or((now_ms, now_ms), |past| {
            (past.header.t0_virtual_ms, past.header.t0_real_ms)
        });
        let clock = SimClock::new(t0_virtual_ms, t0_real_ms, self.speed_x);
        let virtual_now_ms = clock.virtual_ms(now_ms);
        let bus = SimBus::new(virtual_now_ms, truth);
        for plan in &self.chips {
            let chip = plan.chip(t0_virtual_ms, virtual_now_ms, past.as_ref());
            let faults = plan
                .faults
                .iter()
                .map(|(window, fault)| (later(*window, t0_virtual_ms), *fault))
                .collect();
            // Each chip is hit at reads of its own.
            let seed = self.seed ^ u64::from(plan.address) << 32;
            bus.attach_with(plan.address, chip, FaultScript::new(faults, seed));
        }
        Ok(SimWorld {
            bus,
            clock,
            boot_id,
        })
    }

    fn open_truth(
        &self,
        now_ms: u64,
    ) -> Result<(TruthFile, Option<TruthPast>, SimBootId), ScenarioError> {
        let drawn = SimBootId::draw().map_err(|source| file_error(&self.path, source))?;
        let Some(path) = &self.truth_file else {
            return Ok((TruthFile::none(), None, drawn));
        };
        let (mut truth, past) = TruthFile::open(path).map_err(|source| file_error(path, source))?;
        let Some(past) = past else {
            let header = TruthHeader {
                scenario: 1,
                t0_virtual_ms: now_ms,
                t0_real_ms: now_ms,
                speed_x: self.speed_x,
                seed: self.seed,
                boot_id: Some(drawn),
            };
            truth.begin(header).map_err(|error| match error {
                SimBusError::TruthFile(kind) => file_error(path, kind.into()),
                other => file_error(path, io::Error::other(other)),
            })?;
            return Ok((truth, None, drawn));
        };
        self.check_past(path, past.header, now_ms)?;
        let boot_id = past.header.boot_id.unwrap_or(drawn);
        Ok((truth, Some(past), boot_id))
    }

    /// The line of virtual time and the noise may not change in the middle of a world.
    fn check_past(
        &self,
        truth_path: &Path,
        header: TruthHeader,
        now_ms: u64,
    ) -> Result<(), ScenarioError> {
        if now_ms < header.t0_real_ms {
            let (path, t0_real_ms) = (truth_path.into(), header.t0_real_ms);
            return Err(ScenarioError::OtherBoot {
                path,
                t0_real_ms,
                now_ms,
            });
        }
        let allowed = "the value in the first line of the truth file, or another truth file";
        let changed = [
            (
                "speed_x",
                self.speed_x != header.speed_x,
                self.speed_x.to_string(),
            ),
            ("seed", self.seed != header.seed, self.seed.to_string()),
        ];
        match changed.into_iter().find(|(_, differs, _)| *differs) {
            Some((key, _, value)) => Err(ScenarioError::Value {
                path: self.path.clone(),
                key: key.into(),
                value,
                allowed,
            }),
            None => Ok(()),
        }
    }
}

fn plan(
    index: usize,
    chip: &file::ChipFile,
    folder: &Path,
    seed: u64,
    refuse: impl Fn(Refusal) -> ScenarioError,
) -> Result<ChipPlan, ScenarioError> {
    use file::ChipFile as File;
    let receiver = |kind: Receiver, chip: &file::ReceiverFile| {
        let replay = chip.replay.as_ref();
        let log = replay.map(|replay| read_log(&folder.join(replay)));
        check::receiver(index, kind, chip, log.transpose()?, seed).map_err(&refuse)
    };
    let (kind, chip) = match chip {
        File::Tmp117(chip) => (Thermometer::Tmp117, chip),
        File::Mcp9808(chip) => (Thermometer::Mcp9808, chip),
        File::Tmp102(chip) | File::Tmp112(chip) => (Thermometer::Tmp102, chip),
        File::Lm75(chip) => (Thermometer::Lm75(Lm75Part::Lm75), chip),
        File::Lm75b(chip) => (Thermometer::Lm75(Lm75Part::Lm75b), chip),
        File::Tmp75(chip) => (Thermometer::Lm75(Lm75Part::Tmp75), chip),
        File::Tmp105(chip) => (Thermometer::Lm75(Lm75Part::Tmp105), chip),
        File::Sht4x(chip) => (Thermometer::Sht4x, chip),
        File::Mcp9600(chip) => (Thermometer::Mcp960x(Mcp960xPart::Mcp9600), chip),
        File::Mcp9601(chip) => (Thermometer::Mcp960x(Mcp960xPart::Mcp9601), chip),
        File::Ublox(chip) => return receiver(Receiver::Ublox, chip),
        File::Mt3333(chip) => return receiver(Receiver::Mt3333, chip),
        File::L76k(chip) => return receiver(Receiver::L76k, chip),
    };
    check::thermometer(index, kind, chip, seed).map_err(refuse)
}

fn file_error(path: &Path, source: io::Error) -> ScenarioError {
    ScenarioError::File {
        path: path.into(),
        source,
    }
}

fn read_log(path: &Path) -> Result<RecordedLog, ScenarioError> {
    let bytes = std::fs::read(path).map_err(|source| file_error(path, source))?;
    RecordedLog::parse(&bytes).ok_or_else(|| {
        let reason = "no RMC, GGA or NAV-PVT to pace the replay by";
        file_error(path, io::Error::new(io::ErrorKind::InvalidData, reason))
    })
}

#[cfg(test)]
mod tests;
