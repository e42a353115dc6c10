//! `fleet-central alerts ack|note|list`: people at a shell.
//!
//! Promises: an order goes through the running centre, which alone judges, and its answer comes back; without a
//! running centre it waits in the desk's file for the next start, and that is said. Never: two processes that judge.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::desk::{AlertItem, Command, Filter, Orders, Reader};

/// A running centre looks several times a second.
const ANSWER_MS_MAX: u64 = 5_000;
const LOOK_MS: u64 = 50;

/// Has the centre do it.
///
/// # Errors
/// When there is no desk, or the centre says why not.
pub(crate) fn order(desk: &Path, command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    let orders = Orders::open(desk)?;
    let id = orders.give(command, clock::utc_ms())?;
    let start_ms = clock::monotonic_ms();
    while clock::monotonic_ms() - start_ms < ANSWER_MS_MAX {
        match orders.answer(id)?.as_deref() {
            Some("") => {
                writeln!(out, "done")?;
                return Ok(());
            }
            Some(why) => anyhow::bail!("{why}"),
            None => std::thread::park_timeout(Duration::from_millis(LOOK_MS)),
        }
    }
    writeln!(out, "no centre answers: it is done when one starts")?;
    Ok(())
}

/// Prints what the desk lists, the latest first.
///
/// # Errors
/// When there is no desk, or nobody reads the output.
pub(crate) fn list_desk(
    desk: &Path,
    filter: &Filter,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let reader = Reader::open(desk).with_context(|| format!("no desk at {}", desk.display()))?;
    for item in reader.items(filter)? {
        let line = match as_json {
            true => serde_json::to_string(&item)?,
            false => line(&item),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

pub(super) fn line(item: &AlertItem) -> String {
    let utc = item.raised_ms.unwrap_or(item.received_ms);
    let utc = jiff::Timestamp::from_millisecond(utc).map_or(String::new(), |at| format!("{at:.0}"));
    let mut marks = String::new();
    if item.late {
        marks.push_str(" LATE");
    }
    if item.muted {
        marks.push_str(" muted");
    }
    if let Some(into) = &item.collapsed_into {
        marks.push_str(&format!(" part of {into}"));
    }
    if let Some(who) = &item.acknowledged_by {
        marks.push_str(&format!(" acknowledged by {who}"));
    }
    let text: String = format!(
        "{utc} {} {} {} {} {} {}{marks}: {}",
        item.id,
        match item.device.as_str() {
            "" => "-",
            device => device,
        },
        item.severity.name(),
        item.state.name(),
        item.kind,
        item.sensor,
        item.text
    );
    // A line stays a line, and a terminal is not steered by a text.
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
