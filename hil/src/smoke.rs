//! The first run of an ARM artefact: under user-mode QEMU, on simulated buses, against a centre on loopback.
//!
//! Promises: version, configuration check and a run of ten seconds are those of the artefact itself; what
//! its simulated chips handed out is compared with the database, reading by reading; its local broker, the
//! artefact beside it, says what is open. Never: I2C through a
//! kernel: user-mode QEMU does not pass it on, that is what the emulated board is for.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::centre::Centre;
use crate::clock::wait_for;
use crate::display;
use crate::oracle::Life;
use crate::world::Truth;

/// The configuration to start from that the package carries.
const EXAMPLE: &str = include_str!("../../cross/package/fleet-gateway/gateway.toml");

const PATIENCE: Duration = Duration::from_secs(120);
/// The run: so many readings of a thermometer at 1 Hz.
const TEMPERATURES_MIN: usize = 10;
const FIXES_MIN: usize = 8;

/// An artefact and how it is run.
#[derive(Debug)]
pub struct Smoke<'a> {
    /// Emulator with its arguments; empty runs the artefact itself.
    pub emulator: &'a [String],
    /// The artefact.
    pub gateway: &'a Path,
    /// The host's `fleet-central`.
    pub central: &'a Path,
    /// An empty folder for everything that is written.
    pub folder: &'a Path,
}

impl Smoke<'_> {
    /// Runs all checks; what was seen, one sentence each.
    ///
    /// # Errors
    /// When one does not hold.
    pub fn run(&self) -> anyhow::Result<Vec<String>> {
        let version = self.version()?;
        let mut centre = Centre::start(self.central, self.folder)?;
        let display_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let config = self.write_configuration(centre.port(), display_port)?;
        self.check_config(&config)?;
        let (stored, truth) = self.ten_seconds(&config, &mut centre, display_port)?;
        centre.verify()?;
        Ok(vec![
            version,
            "the package's configuration is accepted with a device's name and refused without"
                .to_owned(),
            format!("{stored} of {truth} readings stored once, clean stop"),
            "the local broker tells a display that nothing is open".to_owned(),
        ])
    }

    fn command(&self) -> Command {
        match self.emulator.split_first() {
            None => Command::new(self.gateway),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(self.gateway);
                command
            }
        }
    }

    fn output(&self, words: &[&str]) -> anyhow::Result<Output> {
        // Pipes that are read to their end: a guest whose standard output is closed early dies of it.
        self.command()
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context("start the emulator")
    }

    fn version(&self) -> anyhow::Result<String> {
        let output = self.output(&["--version"])?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(
            output.status.success() && text.starts_with("fleet-gateway "),
            "--version printed {text:?} and ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// The local broker as the gateway starts it: the kernel does not run ARM programs by itself.
    fn write_broker(&self) -> anyhow::Result<PathBuf> {
        let broker = self.gateway.with_file_name("fleet-gateway-broker");
        ensure!(broker.is_file(), "there is no {}", broker.display());
        let script = self.folder.join("broker");
        let words = self.emulator.join(" ");
        fs::write(
            &script,
            format!("#!/bin/sh\nexec {words} {}\n", broker.display()),
        )?;
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        Ok(script)
    }

    fn write_configuration(&self, port: u16, display_port: u16) -> anyhow::Result<PathBuf> {
        let broker = self.write_broker()?;
        let broker = broker.display();
        fs::write(
            self.folder.join("scenario.toml"),
            "speed_x = 1.0\nseed = 3\ntruth_file = \"truth.jsonl\"\n\n[[chip]]\nkind = \"tmp117\"\n\
             address = 0x48\nbase_deg_c = 4.0\nnoise_lsb_rms = 6.0\n\n[[chip]]\nkind = \"ublox\"\n\
             address = 0x42\n[chip.route]\nstart_lat_deg = 52.52\nstart_lon_deg = 13.40\n",
        )?;
        let config = self.folder.join("gateway.toml");
        fs::write(
            &config,
            format!(
                "[device]\nid = \"smoke-1\"\n\n[broker]\nhost = \"127.0.0.1\"\nport = {port}\n\n[[bus]]\n\
                 name = \"i2c\"\npath = \"sim:scenario.toml\"\n\n[[bus.sensor]]\nname = \"cargo\"\n\
                 driver = \"tmp117\"\naddress = 0x48\nrole = \"load\"\nperiod_ms = 1000\n\n[[bus.sensor]]\n\
                 name = \"gnss\"\ndriver = \"ublox\"\naddress = 0x42\nrole = \"vehicle\"\n\n\
                 [local_broker]\nlisten = \"127.0.0.1:{display_port}\"\nprogram = \"{broker}\"\n"
            ),
        )?;
        Ok(config)
    }

    fn check_config(&self, config: &Path) -> anyhow::Result<()> {
        let file = config.display().to_string();
        let good = self.output(&["check-config", "--config", &file])?;
        let text = String::from_utf8_lossy(&good.stdout);
        ensure!(
            good.status.success() && text.contains("smoke-1"),
            "check-config ended with {}: {}",
            good.status,
            String::from_utf8_lossy(&good.stderr)
        );
        let example = self.folder.join("example.toml").display().to_string();
        fs::write(&example, EXAMPLE)?;
        let refused = self.output(&["check-config", "--config", &example])?;
        ensure!(
            refused.status.code() == Some(2),
            "the package's configuration without a device's name ended with {}",
            refused.status
        );
        fs::write(&example, EXAMPLE.replace("CHANGE-ME", "truck-001"))?;
        let named = self.output(&["check-config", "--config", &example])?;
        ensure!(
            named.status.success(),
            "the package's configuration is refused: {}",
            String::from_utf8_lossy(&named.stderr)
        );
        Ok(())
    }

    /// How many readings were stored, and how many were handed out.
    fn ten_seconds(
        &self,
        config: &Path,
        centre: &mut Centre,
        display_port: u16,
    ) -> anyhow::Result<(usize, usize)> {
        let mut gateway = self.start(config)?;
        let truth_file = self.folder.join("truth.jsonl");
        wait_for("ten seconds of readings", PATIENCE, || {
            centre.check_children()?;
            gateway.check()?;
            let truth = Truth::read(&truth_file).unwrap_or_default();
            let enough =
                truth.temperatures.len() >= TEMPERATURES_MIN && truth.fixes.len() >= FIXES_MIN;
            Ok(enough.then_some(()))
        })?;
        let open = display::retained(display_port, "local/alerts/open")?;
        ensure!(open == "[]", "the local broker says that {open} is open");
        gateway.stop()?;
        let truth = Truth::read(&truth_file)?;
        let life = Life::stopped(&Truth::default(), &truth);
        let stored = wait_for("every reading in the database", PATIENCE, || {
            let stored = centre.stored()?;
            ensure!(stored.len() <= 1, "{} epochs of one run", stored.len());
            let Some(epoch) = stored.first() else {
                return Ok(None);
            };
            Ok(life.compare(epoch).is_ok().then(|| epoch.readings()))
        })
        .or_else(|late| match centre.stored()?.first() {
            Some(epoch) => life.compare(epoch).context(late.to_string()),
            None => Err(late),
        })?;
        Ok((stored, truth.temperatures.len() + truth.fixes.len()))
    }

    fn start(&self, config: &Path) -> anyhow::Result<Gateway> {
        let log = self.folder.join("gateway.log");
        let child = self
            .command()
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the emulator")?;
        Ok(Gateway { child, log })
    }
}

/// The running artefact; ended with its owner.
struct Gateway {
    child: Child,
    log: PathBuf,
}

impl Gateway {
    fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the gateway ended by itself ({status}): {}",
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("process id 0")?;
        kill_process(id, Signal::TERM)?;
        let status = wait_for("the clean stop", PATIENCE, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "the clean stop ended with {status}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_stands_before_the_artefact() {
        let folder = Path::new("/tmp");
        let words = ["qemu-arm-static", "-cpu", "arm1176"].map(str::to_owned);
        let mut smoke = Smoke {
            emulator: &words,
            gateway: Path::new("gw"),
            central: folder,
            folder,
        };
        let command = smoke.command();
        assert_eq!(command.get_program(), "qemu-arm-static");
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            ["-cpu", "arm1176", "gw"]
        );
        smoke.emulator = &[];
        assert_eq!(smoke.command().get_program(), "gw");
    }

    #[test]
    fn a_program_that_is_not_the_gateway_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let smoke = Smoke {
            emulator: &[],
            gateway: Path::new("true"),
            central: folder.path(),
            folder: folder.path(),
        };
        let error = smoke.run().unwrap_err().to_string();
        assert!(error.contains("--version printed"), "{error}");
    }
}
