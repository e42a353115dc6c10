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
use crate::qmp::Qmp;
use crate::usbredir::{Adapter, Redirection};

/// Lines for the harness that may wait; more than any scenario asks for, so the console never stalls.
const LINES_MAX: usize = 1024;

/// What a board is made of.
#[derive(Debug)]
pub struct Build<'a> {
    /// Emulator and kernel.
    pub parts: &'a Parts,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// The disk, raw.
    pub disk: &'a Path,
    /// Where the console is written down.
    pub log: &'a Path,
    /// The guest's memory, MiB.
    pub memory_mib: u32,
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
    /// Powers the `virt` board on, with the adapter plugged in.
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
        let qmp_listener = UnixListener::bind(sockets.path().join("qmp"))?;
        let usb_listener = UnixListener::bind(sockets.path().join("usb"))?;
        let mut child = command(build, sockets.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(build.log)?)
            .spawn()
            .context("start QEMU")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut guard = Guard(Some(child));
        let console = stdin.context("QEMU has no standard input")?;
        let lines = read_console(stdout.context("QEMU has no standard output")?, build.log)?;
        let usb_socket = guard.accept(&usb_listener, "the USB socket", build.log)?;
        let usb = Redirection::start(usb_socket, adapter, since, tick)?;
        let qmp = Qmp::start(guard.accept(&qmp_listener, "QMP", build.log)?)?;
        let child = guard.0.take().context("QEMU is gone")?;
        let log = build.log.to_owned();
        Ok(Self {
            child,
            console,
            lines,
            qmp,
            usb: Some(usb),
            log,
            _sockets: sockets,
        })
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
        self.usb.take().context("the adapter was unplugged")?.join()
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
    command
        .args(["-M", "virt", "-cpu", "cortex-a72", "-m"])
        .arg(build.memory_mib.to_string());
    command
        .arg("-kernel")
        .arg(build.parts.kernel())
        .arg("-initrd")
        .arg(build.initramfs);
    command.args(["-append", "console=ttyAMA0 rdinit=/init panic=-1 quiet"]);
    command.args([
        "-display",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
    ]);
    command
        .arg("-qmp")
        .arg(option("unix:", &sockets.join("qmp"), ",server=off"));
    command.arg("-drive").arg(option(
        "if=none,id=disk,file=",
        build.disk,
        ",format=raw,cache=writeback",
    ));
    command.args(["-device", "virtio-blk-pci,drive=disk"]);
    command.args([
        "-netdev",
        "user,id=n0",
        "-device",
        "virtio-net-pci,netdev=n0,romfile=",
    ]);
    command.arg("-chardev").arg(option(
        "socket,id=usb,path=",
        &sockets.join("usb"),
        ",server=off",
    ));
    command.args(["-device", "qemu-xhci", "-device", "usb-redir,chardev=usb"]);
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
