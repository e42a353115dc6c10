//! A command that is told of alerts: one at a time, the JSON on its standard input.
//!
//! Promises: it is ended with all its children of its process group when its time is over; so many alerts as
//! the configuration says may wait for it, and more are dropped with a line in the log; what it prints goes
//! nowhere. Never: a shell between us and the command.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use firmware_shared::alert::Severity;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::HookConfig;

const STACK_LEN: usize = 128 * 1024;
/// How long the kernel may take to end what was killed.
const REAP_PATIENCE: Duration = Duration::from_secs(2);

/// The way to the thread that runs the command.
#[derive(Debug)]
pub(super) struct Hook {
    severity: Severity,
    todo: Sender<Vec<u8>>,
    dropped: u64,
}

impl Hook {
    pub(super) fn start(config: HookConfig) -> io::Result<Self> {
        let (todo, alerts) = bounded(config.queue_count);
        let severity = config.severity;
        std::thread::Builder::new()
            .name("hook".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || work(&config, &alerts))?;
        Ok(Self {
            severity,
            todo,
            dropped: 0,
        })
    }

    /// Has the command told, if that is bad enough for it.
    pub(super) fn tell(&mut self, severity: Severity, json: Vec<u8>) {
        if severity < self.severity {
            return;
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.todo.try_send(json)
        {
            self.dropped += 1;
            tracing::warn!(
                dropped = self.dropped,
                "the hook is behind; an alert is not told to it"
            );
        }
    }
}

fn work(config: &HookConfig, alerts: &Receiver<Vec<u8>>) {
    let limit = Duration::from_millis(config.timeout_ms);
    for json in alerts {
        if let Err(reason) = run(&config.command, &json, limit) {
            tracing::warn!(command = ?config.command, reason, "the hook failed");
        }
    }
}

/// Runs the command once.
fn run(command: &[String], json: &[u8], limit: Duration) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(words)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(mut input) = child.stdin.take() {
        // An alert fits into a pipe, so that this does not wait; who does not read it need not.
        input.write_all(json).ok();
    }
    let (end, ended) = bounded(1);
    std::thread::Builder::new()
        .name("hook-wait".to_owned())
        .stack_size(STACK_LEN)
        .spawn(move || end.send(child.wait()))
        .map_err(words)?;
    let status = match ended.recv_timeout(limit) {
        Ok(status) => status.map_err(words)?,
        Err(_) => {
            if let Some(group) = group {
                // Gone in this very moment is as good.
                kill_process_group(group, Signal::KILL).ok();
            }
            ended.recv_timeout(REAP_PATIENCE).ok();
            return Err(format!("it ran for {} ms and was ended", limit.as_millis()));
        }
    };
    match status.success() {
        true => Ok(()),
        false => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_command_reads_the_alert_and_nothing_comes_between() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let script = format!("cat > {}; echo loud; echo louder >&2", file.display());
        run(&shell(&script), b"{\"kind\":\"runaway\"}", LONG).unwrap();
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "{\"kind\":\"runaway\"}"
        );
    }

    #[test]
    fn a_command_that_fails_is_not_there_or_reads_nothing_says_so_or_harms_nobody() {
        assert!(
            run(&shell("exit 3"), b"{}", LONG)
                .unwrap_err()
                .contains('3')
        );
        assert!(run(&["/nowhere/tell".to_owned()], b"{}", LONG).is_err());
        run(&shell("exec true"), &[b'x'; 4096], LONG).unwrap();
        assert!(run(&[], b"{}", LONG).is_err());
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("children");
        // The child of the command would go on for a minute.
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let reason = run(&shell(&script), b"{}", Duration::from_secs(2)).unwrap_err();
        assert!(reason.contains("2000 ms"), "{reason}");
        let child = std::fs::read_to_string(file).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // Whoever inherits the dead child may not have looked after it yet.
        let is_gone = stat.map_or(true, |stat| stat.contains(") Z "));
        assert!(is_gone, "{child}");
    }

    #[test]
    fn what_the_hook_cannot_take_is_dropped_and_milder_alerts_are_not_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let config = HookConfig {
            command: shell(&format!("read line < {}", gate.display())),
            severity: Severity::Warning,
            timeout_ms: 60_000,
            queue_count: 2,
        };
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &gate,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let mut hook = Hook::start(config).unwrap();
        hook.tell(Severity::Diagnostic, b"{}".to_vec());
        assert!(hook.todo.is_empty());
        for _ in 0..10 {
            hook.tell(Severity::Critical, b"{}".to_vec());
        }
        // One may run by this time, two wait.
        assert!((7..=8).contains(&hook.dropped), "{}", hook.dropped);
        drop(hook);
        for _ in 0..3 {
            std::fs::write(&gate, "go\n").ok();
        }
    }
}
