//! What was told and is not closed, and the profiles of the trip, in files beside the spool.
//!
//! Promises: they are written after every change, as alerts are, and before somebody hears that his profile
//! is accepted; a damaged file is an empty one with a line in the log. Never: a start that fails.

use super::Pipeline;
use super::file::StateFile;
use crate::alert::DeskMemory;
use crate::clock::Now;
use crate::config::Config;

/// The files.
#[derive(Debug)]
pub(super) struct Told {
    alerts: StateFile,
    trip: StateFile,
}

impl Told {
    /// Reads what an earlier process told and was told, and goes on with it.
    pub(super) fn open(config: &Config, pipeline: &mut Pipeline, now: Now) -> Self {
        let beside = |suffix| StateFile::beside(&config.spool.dir, suffix);
        let (alerts, trip) = (beside("alerts"), beside("profile"));
        pipeline.restore_desk(now, read_desk(&alerts));
        match trip.read() {
            Ok(Some(bytes)) => pipeline.restore_trip(now, &bytes),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(file = %trip.path().display(), %error, "no profile is in force");
            }
        }
        Self { alerts, trip }
    }

    pub(super) fn turn(&mut self, now: Now, pipeline: &mut Pipeline) {
        if let Some(bytes) = pipeline.trip_memory() {
            write(&self.trip, &bytes);
        }
        if let Some(memory) = pipeline.desk_memory(now) {
            write(
                &self.alerts,
                &serde_json::to_vec(&memory).unwrap_or_default(),
            );
        }
    }
}

fn write(file: &StateFile, bytes: &[u8]) {
    if let Err(error) = file.replace(bytes) {
        let file = file.path().display();
        tracing::warn!(%file, %error, "it is not written down; a restart forgets it");
    }
}

fn read_desk(file: &StateFile) -> DeskMemory {
    let Ok(Some(bytes)) = file.read() else {
        return DeskMemory::default();
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %file.path().display(), %error, "it counts as empty");
        DeskMemory::default()
    })
}
