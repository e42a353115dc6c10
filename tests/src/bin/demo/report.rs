//! The account at the end of the demo.

use std::io::Write;

use serde::Serialize;

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Vehicles.
    pub(crate) vehicles: usize,
    /// Numbers that the vehicles say they issued.
    pub(crate) issued: u64,
    /// Of these, rows at the centre.
    pub(crate) stored: u64,
    /// Rows that are there twice.
    pub(crate) duplicates: u64,
    /// Numbers that a loss record explains.
    pub(crate) lost: u64,
    /// Numbers that nothing explains.
    pub(crate) unexplained_gaps: u64,
    /// Readings that the simulated buses handed out.
    pub(crate) handed_out: u64,
    /// Of these, stored exactly once.
    pub(crate) handed_out_stored_once: u64,
    /// Of these, missing: not accepted before a kill.
    pub(crate) not_accepted_before_kill: u64,
    /// Stored although no bus handed it out.
    pub(crate) invented: u64,
    /// Alert transitions that the desk received.
    pub(crate) alerts: u64,
    /// From the register read to the driver, ms.
    pub(crate) alert_local_ms: u64,
    /// From the end of the outage to the fleet desk, ms.
    pub(crate) alert_after_outage_ms: u64,
    /// Readings of the outage that were not stored yet when the alert arrived.
    pub(crate) backlog_behind_alert: u64,
    /// From the end of the outage to an empty spool, ms.
    pub(crate) drain_ms: u64,
    /// Bytes that crossed the link per reading, both ways, MQTT and acknowledgements included.
    pub(crate) wire_bytes_per_reading: f64,
    /// The same readings as one JSON message each.
    pub(crate) json_bytes_per_reading: f64,
    /// Largest resident memory of a gateway, MB.
    pub(crate) gateway_rss_mb: f64,
    /// Kills that landed while readings flowed.
    pub(crate) kills: u64,
    /// What does not hold, in words.
    pub(crate) broken: Vec<String>,
}

impl Report {
    /// Whether exactly-once holds.
    pub(crate) fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// One JSON object on stdout.
    pub(crate) fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }

    /// The table for people.
    pub(crate) fn print_table(&self, mut out: impl Write) -> std::io::Result<()> {
        let mut row = |name: &str, value: String| writeln!(out, "  {name:<52} {value:>12}");
        row("vehicles", self.vehicles.to_string())?;
        row("numbers issued by the vehicles", self.issued.to_string())?;
        row("stored at the centre", self.stored.to_string())?;
        row("duplicates", self.duplicates.to_string())?;
        row("lost, with a loss record", self.lost.to_string())?;
        row("unexplained gaps", self.unexplained_gaps.to_string())?;
        row(
            "readings handed out by the simulated chips",
            self.handed_out.to_string(),
        )?;
        row(
            "  of these stored exactly once",
            self.handed_out_stored_once.to_string(),
        )?;
        row(
            "  of these not accepted before a kill -9",
            self.not_accepted_before_kill.to_string(),
        )?;
        row("kill -9 that landed mid-stream", self.kills.to_string())?;
        row(
            "alert transitions at the fleet desk",
            self.alerts.to_string(),
        )?;
        row(
            "alert: register read to driver, ms",
            self.alert_local_ms.to_string(),
        )?;
        row(
            "alert: link back to fleet desk, ms",
            self.alert_after_outage_ms.to_string(),
        )?;
        row(
            "readings still in the spools when it arrived",
            self.backlog_behind_alert.to_string(),
        )?;
        row("backlog drained after, ms", self.drain_ms.to_string())?;
        row(
            "bytes per reading on the wire, all included",
            format!("{:.1}", self.wire_bytes_per_reading),
        )?;
        row(
            "  the same as one JSON message per reading",
            format!("{:.1}", self.json_bytes_per_reading),
        )?;
        row(
            "largest gateway memory (VmHWM), MB",
            format!("{:.1}", self.gateway_rss_mb),
        )?;
        if self.holds() {
            writeln!(
                out,
                "\nExactly once holds: the database equals what the chips handed out."
            )
        } else {
            self.broken
                .iter()
                .try_for_each(|what| writeln!(out, "\nBROKEN: {what}"))
        }
    }
}
