//! The demo tells the truth.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::needs;

pub(crate) fn trials() -> Vec<Trial> {
    vec![needs::nothing(
        "demo::the_story_holds_and_reports",
        story_holds,
    )]
}

fn story_holds() -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--json", "--vehicles", "2"])
        .stdin(Stdio::null())
        .output()?;
    let story = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "the demo failed:\n{story}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |key: &str| {
        report[key]
            .as_f64()
            .ok_or_else(|| anyhow::anyhow!("no {key}: {report:#}"))
    };
    anyhow::ensure!(number("issued")? > 1000.0, "{report:#}");
    anyhow::ensure!(
        number("stored")? + number("lost")? >= number("issued")?,
        "{report:#}"
    );
    anyhow::ensure!(
        number("duplicates")? == 0.0 && number("unexplained_gaps")? == 0.0,
        "{report:#}"
    );
    anyhow::ensure!(number("alerts")? >= 1.0, "{report:#}");
    anyhow::ensure!(
        number("wire_bytes_per_reading")? < number("json_bytes_per_reading")?,
        "{report:#}"
    );
    // The promise is that of a release, which `cargo demo` is; a program that is not optimised has far more code.
    let rss_mb_max = if cfg!(debug_assertions) { 20.0 } else { 16.0 };
    anyhow::ensure!(number("gateway_rss_mb")? < rss_mb_max, "{report:#}");
    Ok(())
}
