//! `spool inspect | verify | export`: a look at a spool folder, also while a gateway has it open.
//!
//! Promises: nothing is written and nothing is locked; long looks say on stderr how far they are. Never:
//! a gateway that runs is disturbed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use firmware_shared::id::Lane;
use serde::Serialize;

use super::{Failure, print};
use crate::spool::Frame;
use crate::spool::disk::RealDisk;
use crate::spool::inspect::{self, Progress};

/// Files between two words about progress.
const PROGRESS_FILES: usize = 64;

#[derive(Debug, Subcommand)]
pub(super) enum SpoolCommand {
    /// Print what a spool folder holds
    Inspect(Look),
    /// Read a spool folder through and compare it with what it says about itself; exits with 1 when
    /// something is damaged or missing
    Verify(Look),
    /// Print what a spool folder holds, one JSON object per line and batch, oldest first
    Export {
        /// The folder
        dir: PathBuf,
        /// What is acknowledged or lost already, too, while it is still there
        #[arg(long)]
        all: bool,
        /// Accepted for the sake of uniformity: the lines are JSON in any case
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Look {
    /// The folder
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn perform(command: &SpoolCommand) -> Result<(), Failure> {
    match command {
        SpoolCommand::Inspect(look) => inspect(look),
        SpoolCommand::Verify(look) => verify(look),
        SpoolCommand::Export { dir, all, .. } => export(dir, *all),
    }
}

fn open(dir: &Path) -> Result<RealDisk, Failure> {
    if dir.is_dir() {
        return Ok(RealDisk::new(dir));
    }
    let dir = dir.display();
    let text = format!("{dir}: no such folder; allowed is the folder of a spool");
    Err(Failure::Usage(text))
}

fn failed(dir: &Path, error: impl Into<anyhow::Error>) -> Failure {
    Failure::Running(error.into().context(dir.display().to_string()))
}

fn tell(progress: Progress) {
    let is_due = progress.done > 0 && progress.done.is_multiple_of(PROGRESS_FILES);
    if is_due && progress.of > PROGRESS_FILES {
        let Progress { done, of } = progress;
        // Nobody is left to tell when stderr is closed.
        writeln!(io::stderr(), "looked at {done} of {of} files").ok();
    }
}

fn as_json(dir: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(dir, error))?;
    print(&format!("{text}\n"))
}

fn inspect(look: &Look) -> Result<(), Failure> {
    let mut disk = open(&look.dir)?;
    let found = inspect::inspect(&mut disk, &mut tell).map_err(|e| failed(&look.dir, e))?;
    if look.json {
        return as_json(&look.dir, &found);
    }
    let mut text = format!(
        "{}: opened {} times, {} process starts known, {} losses not acknowledged, {} free files, {} bytes written in its life\n",
        found.folder,
        found.incarnation,
        found.epochs,
        found.losses.len(),
        found.free_files,
        found.device_bytes,
    );
    for beside in &found.beside {
        text.push_str(&format!("beside it: {beside}\n"));
    }
    for segment in &found.segments {
        text.push_str(&format!(
            "{} {:<9} #{}: {} bytes, {} frames, {} not acknowledged, {} bytes damaged\n",
            segment.file,
            segment.lane.name(),
            segment.generation,
            segment.bytes,
            segment.frames,
            segment.unacked,
            segment.damaged_bytes,
        ));
    }
    for file in &found.unreadable_files {
        text.push_str(&format!("{file}: cannot be read\n"));
    }
    for file in &found.foreign_files {
        text.push_str(&format!(
            "{file}: of another spool, or a copy under another name; left alone\n"
        ));
    }
    print(&text)
}

fn verify(look: &Look) -> Result<(), Failure> {
    let mut disk = open(&look.dir)?;
    let found = inspect::verify(&mut disk, &mut tell).map_err(|e| failed(&look.dir, e))?;
    if look.json {
        as_json(&look.dir, &found)?;
    } else {
        print(&format!(
            "{} segments, {} frames, {} batches read\n{} bytes damaged, {} wrong summaries, {} unreadable files, {} records unexplained\n",
            found.segments,
            found.frames,
            found.batches,
            found.damaged_bytes,
            found.wrong_summaries,
            found.unreadable_files,
            found.unexplained,
        ))?;
    }
    if found.is_whole() {
        return Ok(());
    }
    let text =
        "the spool is damaged; a gateway that opens it goes on and puts on record what is lost";
    Err(failed(&look.dir, anyhow::anyhow!(text)))
}

/// One line of an export.
#[derive(Debug, Serialize)]
struct Line<'a> {
    lane: Lane,
    epoch: String,
    first_seq: u64,
    last_seq: u64,
    /// An alert as it travels.
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a serde_json::value::RawValue>,
    /// A sealed batch as it travels, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
}

fn export(dir: &Path, is_all: bool) -> Result<(), Failure> {
    let mut disk = open(dir)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut take = |frame: &Frame| {
        serde_json::to_writer(&mut out, &line(frame))?;
        out.write_all(b"\n")
    };
    inspect::export(&mut disk, is_all, &mut tell, &mut take).map_err(|e| failed(dir, e))?;
    out.flush().map_err(|e| failed(dir, e))
}

fn line(frame: &Frame) -> Line<'_> {
    let text = (frame.stream.lane == Lane::Alert)
        .then(|| std::str::from_utf8(&frame.bytes).ok())
        .flatten();
    let alert = text.and_then(|text| serde_json::from_str(text).ok());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Line {
        lane: frame.stream.lane,
        epoch: frame.stream.epoch.to_string(),
        first_seq: frame.range.first_seq,
        last_seq: frame.range.last_seq,
        batch: alert.is_none().then(|| hex(&frame.bytes)),
        alert,
    }
}
