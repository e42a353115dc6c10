//! One life of the broker's process.
//!
//! Promises: nothing waits longer than it may for a child that does not read; dropped, it is killed and
//! reaped; what it says on stderr is a line in our log. Never: an argument or a variable in its environment.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use crate::clock::boottime_ms;

/// How long it may take to end by itself.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// A sentence; more of one line is another line.
const WORDS_LEN_MAX: u64 = 2_048;
const STACK_LEN: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    ended: Receiver<()>,
}

impl Child {
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let mut process = Command::new(program)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What a terminal sends to end us is not for it: it ends after us.
            .process_group(0)
            .spawn()?;
        let (alive, ended) = bounded(0);
        let (input, words) = (process.stdin.take(), process.stderr.take());
        let child = Self {
            process,
            input,
            ended,
        };
        if let Some(input) = &child.input {
            fcntl_setfl(input, OFlags::NONBLOCK)?;
        }
        if let Some(words) = words {
            std::thread::Builder::new()
                .name("local-broker-log".to_owned())
                .stack_size(STACK_LEN)
                .spawn(move || log(words, alive))?;
        }
        Ok(child)
    }

    /// Closes when it has ended.
    pub(super) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Hands a line over within the time.
    pub(super) fn say(&mut self, line: &[u8], limit_ms: u64) -> io::Result<()> {
        let until_ms = boottime_ms().saturating_add(limit_ms);
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut left = line;
        while !left.is_empty() {
            match input.write(left) {
                Ok(len) => left = left.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_for_room(input, until_ms)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets it end by itself, or ends it.
    pub(super) fn end(mut self) {
        self.input = None;
        self.ended.recv_timeout(END_PATIENCE).ok();
    }

    /// How it ended; it is ended, if it has not.
    pub(super) fn reap(mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Gone in this very moment is as good.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn wait_for_room(input: &ChildStdin, until_ms: u64) -> io::Result<()> {
    let left = Duration::from_millis(until_ms.saturating_sub(boottime_ms()));
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::new(input, PollFlags::OUT)], Some(&left)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Logs its words until it has ended; `_alive` closes then.
fn log(words: ChildStderr, _alive: Sender<()>) {
    let mut words = BufReader::new(words);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut words)
            .take(WORDS_LEN_MAX)
            .read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        let sentence = String::from_utf8_lossy(&line);
        tracing::warn!("the local broker says: {}", sentence.trim_end());
    }
}
