//! Real processes, ended by their own id.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How a program of ours is called: the executable and the words before its own arguments.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub executable: PathBuf,
    /// Words that stand before the arguments.
    pub prefix: Vec<OsString>,
}

impl Program {
    /// A program that is an executable of its own.
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Self {
            executable: executable.into(),
            prefix: Vec::new(),
        }
    }

    /// A command with these arguments.
    #[must_use]
    pub fn command<S: Into<OsString>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(&self.prefix)
            .args(args.into_iter().map(Into::into))
            .stdin(Stdio::null());
        command
    }

    /// Starts it with its log appended to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: Into<OsString>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = S>,
        log: &Path,
    ) -> anyhow::Result<Process> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = self
            .command(args)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}: {}", self.executable.display()))?;
        Ok(Process {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            is_asked_to_stop: false,
        })
    }
}

/// A running process; dropped means killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    is_asked_to_stop: bool,
}

impl Process {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its log when it has ended by itself.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn assert_running(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} ended by itself ({status}); its log ends:\n{}",
                self.name,
                self.log_tail()
            );
        }
        Ok(())
    }

    /// `kill -9`; fails when it had ended before.
    ///
    /// # Errors
    /// When the process was not running any more: the kill did not land.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.assert_running()?;
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and the exit status within the deadline.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.ask_to_stop()?;
        self.wait(deadline)
    }

    /// Sends SIGTERM without waiting, once: a second one would end it in a hurry.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn ask_to_stop(&mut self) -> anyhow::Result<()> {
        if !self.is_asked_to_stop {
            self.signal(Signal::TERM)?;
            self.is_asked_to_stop = true;
        }
        Ok(())
    }

    /// The exit status within the deadline.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let (name, log) = (self.name.clone(), self.log.clone());
        wait::until(&format!("{name} ends"), deadline, || {
            Ok(self.child.try_wait()?)
        })
        .with_context(|| format!("its log ends:\n{}", tail(&log)))
    }

    /// The largest resident memory so far, bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn vm_hwm_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The ids of its children that live.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub fn children(&self) -> anyhow::Result<Vec<u32>> {
        let mut children = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.parse().ok())
                && parent(id) == Some(self.id())
            {
                children.push(id);
            }
        }
        Ok(children)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        send(self.id(), signal)
    }
}

/// `kill -9` of a process that is not ours to wait for.
///
/// # Errors
/// When it is gone.
pub fn kill_9(id: u32) -> anyhow::Result<()> {
    send(id, Signal::KILL)
}

/// Whether it lives: whoever inherits a dead process may not have looked after it yet.
#[must_use]
pub fn is_alive(id: u32) -> bool {
    parent(id).is_some()
}

/// The parent of a process that lives.
fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    (words.next()? != "Z").then_some(())?;
    words.next()?.parse().ok()
}

fn send(id: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(id)?;
    kill_process(Pid::from_raw(id).context("process id 0")?, signal)?;
    Ok(())
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(25))
        .map(|line| format!("  {line}\n"))
        .collect()
}
