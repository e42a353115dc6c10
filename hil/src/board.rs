//! The emulated board: one QEMU process with its console, its QMP and the USB adapter.
//!
//! Promises: one power cut is one SIGKILL to that very process; the disk image stays as QEMU left it; the
//! whole console is in the log file. Never: a process ended by its name, or a port that was not chosen.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::archive::Parts;
use crate::clock::Stopwatch;
use crate::guest::MARK;
use crate::machine::Machine;
use crate::qmp::Qmp;
use crate::usbredir::{Adapter, Redirection};

/// A guest's last sync.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// Lines for the harness that may wait; more than any scenario asks for, so the console never stalls.
const LINES_MAX: usize = 1024;

/// What a board is made of.
#[derive(Debug)]
pub struct Build<'a> {
    /// Emulator and kernel.
    pub parts: &'a Parts,
    /// Which machine it is.
    pub machine: Machine,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// The disks, raw; a Raspberry Pi has one.
    pub disks: &'a [&'a Path],
    /// What the kernel is told beside its console.
    pub append: &'a str,
    /// More words for QEMU.
    pub extra: &'a [&'a str],
    /// Where the console is written down.
    pub log: &'a Path,
    /// The guest's memory, MiB.
    pub memory_mib: u32,
}

/// A QEMU whose sockets are not all connected.
struct Starting {
    console: ChildStdin,
    lines: Receiver<String>,
    qmp: UnixListener,
    usb: Option<Redirection>,
    log: PathBuf,
    sockets: tempfile::TempDir,
}

impl Starting {
    fn finish(self, mut guard: Guard) -> anyhow::Result<Board> {
        let qmp = Qmp::start(guard.accept(&self.qmp, "QMP", &self.log)?)?;
        Ok(Board {
            child: guard.0.take().context("QEMU is gone")?,
            console: self.console,
            lines: self.lines,
            qmp,
            usb: self.usb,
            log: self.log,
            _sockets: self.sockets,
        })
    }
}

/// A running board.
#[derive(Debug)]
pub struct Board {
    child: Child,
    console: ChildStdin,
    lines: Receiver<String>,
    qmp: Qmp,
    usb: Option<Redirection>,
    log: PathBuf,
    _sockets: tempfile::TempDir,
}

impl Board {
    /// Powers the board on, with the adapter plugged in.
    ///
    /// # Errors
    /// When QEMU does not come up.
    pub fn power_on(
        build: &Build<'_>,
        adapter: Adapter,
        since: Stopwatch,
        tick: impl Fn(u64) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let sockets = tempfile::tempdir()?;
        let listener = UnixListener::bind(sockets.path().join("usb"))?;
        let mut command = command(build, sockets.path());
        let socket = sockets.path().join("usb");
        command.arg("-chardev").arg(format!(
            "socket,id=usb,path={},server=off",
            socket.display()
        ));
        command.args(["-device", "usb-redir,chardev=usb"]);
        let (mut board, mut guard) = Self::start(build, command, sockets)?;
        let socket = guard.accept(&listener, "the USB socket", build.log)?;
        board.usb = Some(Redirection::start(socket, adapter, since, tick)?);
        board.finish(guard)
    }

    /// Powers the board on without an adapter.
    ///
    /// # Errors
    /// When QEMU does not come up.
    pub fn plain(build: &Build<'_>) -> anyhow::Result<Self> {
        let sockets = tempfile::tempdir()?;
        let command = command(build, sockets.path());
        let (board, guard) = Self::start(build, command, sockets)?;
        board.finish(guard)
    }

    fn start(
        build: &Build<'_>,
        mut command: std::process::Command,
        sockets: tempfile::TempDir,
    ) -> anyhow::Result<(Starting, Guard)> {
        let qmp_listener = UnixListener::bind(sockets.path().join("qmp"))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(build.log)?)
            .spawn()
            .context("start QEMU")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let guard = Guard(Some(child));
        let starting = Starting {
            console: stdin.context("QEMU has no standard input")?,
            lines: read_console(stdout.context("QEMU has no standard output")?, build.log)?,
            qmp: qmp_listener,
            usb: None,
            log: build.log.to_owned(),
            sockets,
        };
        Ok((starting, guard))
    }

    /// The rest of the next marked line that begins with `start`; others before it are passed over.
    ///
    /// # Errors
    /// When it does not come in time, or init says that it cannot go on.
    pub fn line(&mut self, start: &str, deadline: Duration) -> anyhow::Result<String> {
        let watch = Stopwatch::start();
        loop {
            let left = deadline.saturating_sub(watch.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(start) => {
                    return Ok(line.trim_start_matches(start).trim().to_owned());
                }
                Ok(line) if line.starts_with("cannot") || line.starts_with("no i2c") => {
                    bail!("the guest says: {line}\n{}", tail(&self.log))
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "waited {} s in vain for {start:?} on the console\n{}",
                        deadline.as_secs(),
                        tail(&self.log)
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the board went off\n{}", tail(&self.log))
                }
            }
        }
    }

    /// Gives init one command and waits for its answer.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn ask(
        &mut self,
        command: &str,
        answer: &str,
        deadline: Duration,
    ) -> anyhow::Result<String> {
        self.console
            .write_all(format!("{command}\n").as_bytes())
            .context("write to the console")?;
        self.line(answer, deadline)
    }

    /// The machine protocol.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// The USB adapter.
    ///
    /// # Errors
    /// Never while the board is on.
    pub fn usb(&self) -> anyhow::Result<&Redirection> {
        self.usb.as_ref().context("the adapter's thread was joined")
    }

    /// Cuts the power; how many I2C messages there were.
    ///
    /// # Errors
    /// When the board was off before, or the adapter had failed.
    pub fn cut_power(mut self) -> anyhow::Result<u64> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the board went off by itself ({status})\n{}",
                tail(&self.log)
            );
        }
        self.child.kill()?;
        self.child.wait()?;
        match self.usb.take() {
            Some(usb) => usb.join(),
            None => Ok(0),
        }
    }

    /// Waits until the guest has written everything down and QEMU has, too; then the power goes.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn settle(mut self) -> anyhow::Result<()> {
        // The guest syncs before it says so; QEMU writes through to the image's file.
        self.line("synced", SETTLE_MAX)?;
        self.qmp.execute("stop", serde_json::json!({}))?;
        self.cut_power().map(drop)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a QEMU that did not come up.
struct Guard(Option<Child>);

impl Guard {
    fn accept(
        &mut self,
        listener: &UnixListener,
        what: &str,
        log: &Path,
    ) -> anyhow::Result<UnixStream> {
        const PATIENCE: Timespec = Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut fds, Some(&PATIENCE))? == 0 {
            bail!("QEMU did not open {what}\n{}", tail(log));
        }
        Ok(listener.accept()?.0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        child.kill().ok();
        child.wait().ok();
    }
}

fn command(build: &Build<'_>, sockets: &Path) -> std::process::Command {
    let mut command = build.parts.qemu();
    let option = |start: &str, path: &Path, end: &str| format!("{start}{}{end}", path.display());
    build
        .machine
        .describe(&mut command, build.parts, build.disks, build.memory_mib);
    command
        .arg("-kernel")
        .arg(build.parts.kernel())
        .arg("-initrd")
        .arg(build.initramfs);
    command.arg("-append").arg(format!(
        "console={} rdinit=/init panic=-1 quiet {} {}",
        build.machine.console(),
        build.machine.append(),
        build.append
    ));
    command.args(["-display", "none", "-monitor", "none", "-no-reboot"]);
    command
        .arg("-qmp")
        .arg(option("unix:", &sockets.join("qmp"), ",server=off"));
    command.args(["-netdev", "user,id=n0"]);
    command.args(build.extra);
    command
}

/// Writes the console down and hands on the marked lines.
fn read_console(stdout: ChildStdout, log: &Path) -> anyhow::Result<Receiver<String>> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let log = File::options().create(true).append(true).open(log)?;
    thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || copy_console(stdout, log, &sender))?;
    Ok(receiver)
}

fn copy_console(stdout: ChildStdout, mut log: File, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(len) if len > 0) {
        // A full disk under the log must not stop the scenario.
        log.write_all(&line).ok();
        if let Some(rest) = marked(&String::from_utf8_lossy(&line)) {
            // A full queue means that nobody asked for these lines.
            sender.try_send(rest).ok();
        }
        line.clear();
    }
}

/// What follows the mark, wherever the console's echo or another program's half line put it.
fn marked(line: &str) -> Option<String> {
    line.split_once(MARK)
        .map(|(_, rest)| rest.trim_end().to_owned())
}

fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(LINES))
        .map(|line| format!("  {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_line_is_found_behind_half_a_line_of_another_program() {
        assert_eq!(marked("HIL stopped 0\r\n").as_deref(), Some("stopped 0"));
        assert_eq!(
            marked("[ 1.2] INFO HIL memory VmHWM: 9 kB\r\n").as_deref(),
            Some("memory VmHWM: 9 kB")
        );
        assert_eq!(marked("login:"), None);
    }
}
