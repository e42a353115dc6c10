//! A fleet desk: `fleet-central alerts --follow --json`, read line by line.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use anyhow::Context;
use tests::process::Program;
use tests::wait;

/// More alerts than the story can raise; beyond it the subscription would wait, not lose.
const ALERTS_MAX: usize = 1024;

/// One alert as it came.
#[derive(Debug)]
pub(crate) struct Received {
    /// When the line was read.
    pub(crate) at: Instant,
    /// The alert.
    pub(crate) alert: serde_json::Value,
}

/// A running subscription; dropped means ended.
#[derive(Debug)]
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<Received>,
}

impl Subscriber {
    /// Subscribes at the broker on this port.
    pub(crate) fn start(program: &Program, port: u16) -> anyhow::Result<Self> {
        let args = [
            "alerts",
            "--follow",
            "--json",
            "--host",
            "127.0.0.1",
            "--port",
        ];
        let args = args
            .into_iter()
            .map(OsString::from)
            .chain([port.to_string().into()]);
        let mut child = program
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = sync_channel(ALERTS_MAX);
        std::thread::Builder::new()
            .name("desk".into())
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let at = wait::now();
                    if let Ok(alert) = serde_json::from_str(&line)
                        && sender.send(Received { at, alert }).is_err()
                    {
                        return;
                    }
                }
            })?;
        Ok(Self { child, lines })
    }

    /// What has come since the last look.
    pub(crate) fn take(&self) -> Vec<Received> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
