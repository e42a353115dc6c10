//! The same promises on a real Raspberry Pi over ssh.
//!
//! The gateway under test is copied to the board and run there; broker and centre stay here, and a reverse
//! tunnel brings one to the other. A link that is down is a tunnel that is closed.
//!
//! Promises: on the board everything is below one folder, and nothing is installed; the gateway there is ended
//! when the harness ends. Never: a password asked for (`BatchMode`), or a word of this machine that the
//! board's shell could take for something else than one argument.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::centre::Centre;
use crate::clock::{Stopwatch, wait_for};
use crate::rig::{Measured, PATIENCE};

/// Below the home of the user on the board.
const FOLDER: &str = "fleet-hil";
/// The alert must be at the subscriber within this time of the reading's stamp and the ssh session's start.
const ALERT_MAX: Duration = Duration::from_secs(10);
const OUTAGE: Duration = Duration::from_secs(60);
const KILLS: u32 = 3;
/// What shows that readings go on.
const READINGS: usize = 5;

/// A board, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `user@host`, or a name of the ssh configuration.
    pub host: String,
    /// Another configuration file for ssh.
    pub ssh_config: Option<PathBuf>,
    /// The bus on the board.
    pub bus: String,
}

/// What the scenario is given.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The board.
    pub remote: &'a Remote,
    /// The binary for the board.
    pub gateway: &'a Path,
    /// The host's `fleet-central`.
    pub central: &'a Path,
    /// An empty folder for everything that is written.
    pub folder: &'a Path,
    /// How long the link is down.
    pub outage: Duration,
}

impl<'a> Visit<'a> {
    /// With a minute without a link.
    #[must_use]
    pub fn new(remote: &'a Remote, gateway: &'a Path, central: &'a Path, folder: &'a Path) -> Self {
        Self {
            remote,
            gateway,
            central,
            folder,
            outage: OUTAGE,
        }
    }
}

impl Remote {
    /// ssh with the options that every call has.
    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Some(file) = &self.ssh_config {
            command.arg("-F").arg(file);
        }
        command.args(["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]);
        command.args(["-o", "ServerAliveInterval=5"]);
        command
    }

    /// A call that runs a line of shell on the board.
    fn call(&self, line: &str) -> Command {
        let mut command = self.ssh();
        // Behind -- nothing is an option, whatever the host is called.
        command.arg("--").arg(&self.host).arg(line);
        command
    }

    /// A call that holds a way from a port of the board to one of this machine open.
    fn tunnel(&self, board_port: u16, port: u16) -> Command {
        let mut command = self.ssh();
        command.arg("-N").arg("-R");
        command.arg(format!("127.0.0.1:{board_port}:127.0.0.1:{port}"));
        command.arg("--").arg(&self.host);
        command
    }

    /// What a line of shell prints on the board.
    ///
    /// # Errors
    /// When it ends with another code than 0.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = self
            .call(line)
            .stdin(Stdio::null())
            .output()
            .context("start ssh")?;
        ensure!(
            output.status.success(),
            "on {}, {line:?} ended with {}: {}",
            self.host,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Copies a file to the board, whole or not at all.
    ///
    /// # Errors
    /// When it does not arrive.
    pub fn copy(&self, file: &Path, name: &str, mode: u32) -> anyhow::Result<()> {
        let (to, draft) = (
            quoted(&format!("{FOLDER}/{name}")),
            quoted(&format!("{FOLDER}/{name}.new")),
        );
        let line = format!("cat > {draft} && chmod {mode:o} {draft} && mv {draft} {to}");
        let input = File::open(file).with_context(|| file.display().to_string())?;
        let output = self
            .call(&line)
            .stdin(input)
            .output()
            .context("start ssh")?;
        ensure!(
            output.status.success(),
            "{name} did not get to {}: {}",
            self.host,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A process that is ended with its owner.
#[derive(Debug)]
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

/// A way from the board to the broker.
#[derive(Debug)]
pub struct Tunnel {
    _ssh: Held,
    /// On the board.
    pub board_port: u16,
}

impl Tunnel {
    /// Opens it; 0 lets the board choose the port.
    ///
    /// # Errors
    /// When ssh ends instead.
    pub fn open(remote: &Remote, board_port: u16, port: u16) -> anyhow::Result<Self> {
        let mut child = remote
            .tunnel(board_port, port)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start ssh")?;
        let said = child.stderr.take().context("ssh has no standard error")?;
        let ssh = Held(child);
        let board_port = match board_port {
            0 => allocated(said)?,
            known => known,
        };
        Ok(Self {
            _ssh: ssh,
            board_port,
        })
    }
}

/// `Allocated port 41234 for remote forward to 127.0.0.1:1883`
fn allocated(said: impl Read) -> anyhow::Result<u16> {
    let mut heard = String::new();
    for line in BufReader::new(said).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("Allocated port ") {
            let word = rest.split(' ').next().unwrap_or_default();
            return word
                .parse()
                .with_context(|| format!("ssh said {line:?} instead of a port"));
        }
        heard.push_str(&line);
        heard.push(' ');
    }
    bail!("ssh opened no tunnel: {heard}")
}

/// Runs the scenario; what was measured.
///
/// # Errors
/// When a promise does not hold.
pub fn run(visit: &Visit<'_>) -> anyhow::Result<Measured> {
    let remote = visit.remote;
    let mut sentences = Vec::new();
    let model = remote.run(
        "cat /proc/device-tree/model 2>/dev/null | tr -d '\\0'; echo; uname -m; echo; \
         test -n \"$(command -v pgrep)\" || echo no pgrep",
    )?;
    sentences.push(format!("board: {}", model.replace('\n', " ").trim()));
    let mut centre = Centre::start(visit.central, visit.folder)?;
    let tunnel = Tunnel::open(remote, 0, centre.port())?;
    let board_port = tunnel.board_port;
    remote.run(&format!("mkdir -p {FOLDER} && rm -rf {FOLDER}/spool"))?;
    remote.copy(visit.gateway, "fleet-gateway", 0o755)?;
    let config = visit.folder.join("gateway.toml");
    std::fs::write(&config, configuration(board_port, &remote.bus))?;
    remote.copy(&config, "gateway.toml", 0o644)?;
    let doctor = remote.call(&format!(
        "{FOLDER}/fleet-gateway doctor --bus {}",
        quoted(&remote.bus)
    ));
    sentences.push(doctor_sentence(doctor)?);

    let watch = Stopwatch::start();
    let mut session = Session::start(remote)?;
    let alert = wait_for(
        "the alert at the subscriber",
        ALERT_MAX.max(PATIENCE),
        || {
            centre.check_children()?;
            Ok(centre.alerts()?.into_iter().find(is_limit))
        },
    )?;
    ensure!(
        watch.elapsed() < ALERT_MAX,
        "the alert took {} ms",
        watch.elapsed_ms()
    );
    sentences.push(format!(
        "alert {} ms after the start over ssh: {}",
        watch.elapsed_ms(),
        alert.get("text").unwrap_or(&Value::Null)
    ));
    expect_readings(&mut centre)?;

    drop(tunnel);
    let watch = Stopwatch::start();
    wait_for("the end of the outage", PATIENCE.max(visit.outage), || {
        Ok((watch.elapsed() >= visit.outage).then_some(()))
    })?;
    let _tunnel = Tunnel::open(remote, board_port, centre.port())?;
    expect_readings(&mut centre)?;
    sentences.push(format!("link down for {} s", visit.outage.as_secs()));

    for _ in 0..KILLS {
        session.kill(remote)?;
        session = Session::start(remote)?;
        expect_readings(&mut centre)?;
    }
    sentences.push(format!("{KILLS} times killed with SIGKILL"));
    let peak = remote.run(&format!(
        "grep VmHWM /proc/$(cat {FOLDER}/pid)/status || echo unknown"
    ))?;
    sentences.push(format!("largest resident memory: {peak}"));
    session.stop(remote)?;
    let report = wait_for("the last words", PATIENCE, || {
        let report = centre.verify()?;
        Ok((count(&report, "unexplained_gaps") == Some(0)).then_some(report))
    })?;
    for key in ["duplicates", "unexplained_gaps", "clashes", "quarantined"] {
        ensure!(
            count(&report, key) == Some(0),
            "verify says {key}: {report}"
        );
    }
    let stored: usize = centre.stored()?.iter().map(|epoch| epoch.readings()).sum();
    sentences.push(format!(
        "{stored} readings stored once, every gap explained"
    ));
    remote.run(&format!("rm -rf {FOLDER}"))?;
    Ok(Measured {
        sentences,
        ..Measured::default()
    })
}

fn count(report: &Value, key: &str) -> Option<u64> {
    report.get(key).and_then(Value::as_u64)
}

fn is_limit(alert: &Value) -> bool {
    alert.get("kind").and_then(Value::as_str) == Some("limit_high")
}

/// What `doctor` says; it ends with 1 when a person should change something, which is told and not fatal.
fn doctor_sentence(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start ssh")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "doctor ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(format!("doctor: {text}"))
}

fn expect_readings(centre: &mut Centre) -> anyhow::Result<()> {
    let count = |centre: &Centre| {
        let stored = centre.stored()?;
        anyhow::Ok(stored.iter().map(|e| e.temperatures.len()).sum::<usize>())
    };
    let before = count(centre)?;
    wait_for("more temperatures in the database", PATIENCE, || {
        centre.check_children()?;
        Ok((count(centre)? >= before + READINGS).then_some(()))
    })
}

/// The gateway on the board, in a session of its own.
#[derive(Debug)]
struct Session {
    ssh: Held,
}

impl Session {
    fn start(remote: &Remote) -> anyhow::Result<Self> {
        let line = format!(
            "echo $$ > {FOLDER}/pid; exec {FOLDER}/fleet-gateway run --config {FOLDER}/gateway.toml 2>> {FOLDER}/log"
        );
        let child = remote
            .call(&line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start ssh")?;
        Ok(Self { ssh: Held(child) })
    }

    fn kill(&mut self, remote: &Remote) -> anyhow::Result<()> {
        remote.run(&format!("kill -KILL $(cat {FOLDER}/pid)"))?;
        self.wait().map(drop)
    }

    fn stop(&mut self, remote: &Remote) -> anyhow::Result<()> {
        remote.run(&format!("kill -TERM $(cat {FOLDER}/pid)"))?;
        let code = self.wait()?;
        ensure!(code == Some(0), "the gateway stopped with {code:?}");
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<Option<i32>> {
        let status = wait_for("the end of the gateway", PATIENCE, || {
            Ok(self.ssh.0.try_wait()?)
        })?;
        Ok(status.code())
    }
}

/// The limit lies below every temperature, so that the first reading is an alert.
fn configuration(port: u16, bus: &str) -> String {
    format!(
        "[device]\nid = \"board-1\"\n\n[spool]\ndir = \"spool\"\n\n[status]\nsocket = \"status.sock\"\n\n\
         [broker]\nhost = \"127.0.0.1\"\nport = {port}\nbackoff_ms_min = 100\nbackoff_ms_max = 1000\n\
         reconnect_spread_ms = 0\n\n[[bus]]\nname = \"header\"\npath = {bus:?}\n\n[[bus.sensor]]\n\
         name = \"cargo\"\ndriver = \"tmp117\"\naddress = 0x48\nrole = \"load\"\nperiod_ms = 1000\n\
         limit_high_deg_c = -50.0\n\n[[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\naddress = 0x42\n\
         role = \"vehicle\"\n"
    )
}

#[cfg(test)]
mod tests;
