//! The Debian package on a Debian with systemd, on the emulated board.
//!
//! Promises: an installed package without an identity runs nothing and says why; with one from the boot
//! partition it starts under its own user, reads a real `/dev/i2c-N` and resolves the broker's name; its local
//! broker runs under the unit's restrictions; it comes back from `kill -9`; when the card hangs, the pipeline hangs,
//! and the watchdog starts it again; an upgrade with a spool full of readings loses none; a removal keeps spool
//! and configuration, a purge asks nothing. Never: a change to the package under test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::centre::Centre;
use crate::clock::{Stopwatch, wait_for};
use crate::oracle::{self, Life, Tally};
use crate::rig::{Measured, PATIENCE};
use crate::site::{BENCH, Packages, Site};
use crate::world::{RECEIVER, THERMOMETER, Truth};

const DATA: &str = "/var/lib/fleet-gateway";
/// What shows that readings go on.
const READINGS: usize = 5;
/// Readings of the thermometer in the spool before the gateway is installed.
const PRELOADED: usize = 5_000;
/// The watchdog of the test, so that a hang is over within seconds; and room between two lives to see both.
const QUICK: &str = "[Service]\\nWatchdogSec=10\\nRestartSec=15\\n";
/// Connects to the local broker, subscribes to what is open, and prints the answers: CONNACK, SUBACK and a
/// PUBLISH are 32 bytes.
const DISPLAY: &str = "exec 3<>/dev/tcp/127.0.0.1/1884; \
    printf \"\\x10\\x13\\0\\x04MQTT\\x04\\x02\\0\\x3c\\0\\x07display\" >&3; \
    printf \"\\x82\\x16\\0\\x01\\0\\x11local/alerts/open\\0\" >&3; \
    timeout 20 head -c 32 <&3 | tr -cd \"[:print:]\"";
/// Between the two versions of an upgrade.
const PAUSE: &str = "[Service]\\nExecStartPre=/bin/sleep 15\\n";
/// While the card hangs, readings are taken that nobody can accept: the watchdog's time, twice.
const HUNG_TAIL_MAX: usize = 120;
const SEED: u64 = 41;

struct Yard {
    site: Site,
    /// The packages, in the guest.
    debs: [String; 2],
    lives: Vec<Life>,
    before: Truth,
    sentences: Vec<String>,
}

/// Runs the scenario; what was measured.
///
/// # Errors
/// When a promise does not hold.
pub fn run(given: &Packages<'_>) -> anyhow::Result<Measured> {
    let preloaded = preload(given).context("fill a spool")?;
    let mut yard = Yard::open(given)?;
    yard.without_identity().context("without an identity")?;
    yard.first_start().context("first start")?;
    yard.killed().context("kill -9")?;
    yard.hung().context("a card that hangs")?;
    yard.upgraded(&preloaded).context("upgrade")?;
    yard.removed().context("removal and purge")?;
    Ok(Measured {
        sentences: yard.sentences,
        ..Measured::default()
    })
}

/// Fills a spool with this machine's gateway, whose broker is not there; what its chips handed out.
fn preload(given: &Packages<'_>) -> anyhow::Result<Truth> {
    let folder = given.folder.join("preload");
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("scenario.toml"),
        "speed_x = 600.0\nseed = 5\ntruth_file = \"truth.jsonl\"\n\n[[chip]]\nkind = \"tmp117\"\n\
         address = 0x48\nbase_deg_c = 4.0\nnoise_lsb_rms = 6.0\n",
    )?;
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let config = folder.join("gateway.toml");
    fs::write(
        &config,
        format!(
            "[device]\nid = \"board-1\"\n[spool]\ndir = \"spool\"\n[broker]\nhost = \"127.0.0.1\"\nport = {port}\n\
             [[bus]]\nname = \"i2c\"\npath = \"sim:scenario.toml\"\n[[bus.sensor]]\nname = \"cargo\"\n\
             driver = \"tmp117\"\naddress = 0x48\nrole = \"load\"\n"
        ),
    )?;
    let mut gateway = Ended(
        Command::new(given.gateway)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("gateway.log"))?)
            .spawn()
            .context("start the gateway")?,
    );
    let truth = || Truth::read(&folder.join("truth.jsonl"));
    wait_for("a spool full of readings", PATIENCE, || {
        ensure!(gateway.0.try_wait()?.is_none(), "the gateway has ended");
        let count = truth().unwrap_or_default().temperatures.len();
        Ok((count >= PRELOADED).then_some(()))
    })?;
    let id = Pid::from_raw(i32::try_from(gateway.0.id())?).context("process id 0")?;
    kill_process(id, Signal::TERM)?;
    let status = wait_for("the clean stop", PATIENCE, || Ok(gateway.0.try_wait()?))?;
    ensure!(status.success(), "the clean stop ended with {status}");
    truth()
}

/// A process that is ended with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

impl Yard {
    fn open(given: &Packages<'_>) -> anyhow::Result<Self> {
        let data = given.folder.join("preload/data");
        fs::create_dir_all(&data)?;
        fs::rename(given.folder.join("preload/spool"), data.join("spool"))?;
        let identity = |bench: &Path, port: u16| {
            fs::create_dir_all(bench.join("identity"))?;
            fs::write(bench.join("identity/gateway.toml"), configuration(port))?;
            Ok(())
        };
        let site = Site::open(given, SEED, &identity, Some(&data))?;
        let sentences = vec![format!("Debian with systemd after {} s", site.boot_s)];
        let name = |deb: &Path| {
            let name = deb.file_name().context("a package")?.to_str();
            anyhow::Ok(format!("{BENCH}/{}", name.context("a package's name")?))
        };
        let [first, second] = given.debs;
        Ok(Self {
            site,
            debs: [name(first)?, name(second)?],
            lives: Vec::new(),
            before: Truth::default(),
            sentences,
        })
    }

    fn note(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    fn without_identity(&mut self) -> anyhow::Result<()> {
        let debian = &mut self.site.debian;
        debian.run(&format!("mkdir -p {DATA} && mount /dev/vdc {DATA}"))?;
        debian.run(&format!("dpkg -i {}", self.debs[0]))?;
        let (_, active) = debian.code("systemctl is-active fleet-gateway")?;
        ensure!(active == "inactive", "without an identity it is {active}");
        let (code, text) = debian.code("fleet-gateway doctor --json")?;
        ensure!(
            code == 1 && text.contains("has no identity"),
            "doctor says ({code}) {text}"
        );
        debian.run("systemctl start fleet-gateway-identity")?;
        let issue = debian.run("cat /run/issue.d/fleet-gateway.issue")?;
        ensure!(
            issue.contains("fleet-gateway identify"),
            "the login prompt says {issue}"
        );
        self.note(
            "installed without an identity: nothing runs, doctor and the login prompt say why",
        );
        Ok(())
    }

    fn first_start(&mut self) -> anyhow::Result<()> {
        let bus = self.site.bus()?;
        let debian = &mut self.site.debian;
        debian.run(&format!(
            "mkdir -p /boot/firmware/fleet-gateway && cd /boot/firmware/fleet-gateway && \
             sed s,@I2C@,/dev/{bus}, {BENCH}/identity/gateway.toml > gateway.toml && \
             mkdir -p /etc/systemd/system/fleet-gateway.service.d && \
             printf '{QUICK}' > /etc/systemd/system/fleet-gateway.service.d/quick.conf && systemctl daemon-reload"
        ))?;
        // Doctor has read both parts for itself.
        self.before = self.site.world.truth()?;
        // As a start of the machine does it: the identity first, then the gateway.
        debian.run("systemctl start fleet-gateway-identity && systemctl start fleet-gateway")?;
        let shown = debian.run(
            "systemctl show fleet-gateway -p ActiveState -p Type -p User -p WatchdogUSec -p NRestarts -p StatusText",
        )?;
        for expected in [
            "ActiveState=active",
            "Type=notify",
            "User=fleet-gateway",
            "WatchdogUSec=10s",
        ] {
            ensure!(shown.contains(expected), "systemd shows {shown}");
        }
        self.expect_readings()?;
        let debian = &mut self.site.debian;
        // It takes nothing from the gateway that runs, or a reading would be missing at the end.
        let doctor = debian.run("fleet-gateway doctor")?;
        ensure!(
            doctor.contains("gnss: left to the gateway"),
            "doctor says {doctor}"
        );
        let status =
            debian.run("fleet-gateway status --config /etc/fleet-gateway/gateway.toml --json")?;
        ensure!(status.contains("\"device\""), "status says {status}");
        let open = debian.run(&format!("bash -c '{DISPLAY}'"))?;
        ensure!(
            open.contains("local/alerts/open[]"),
            "the local broker tells a display {open:?}"
        );
        let exposure =
            debian.code("systemd-analyze security fleet-gateway --no-pager | tail -n 1")?;
        let rss = debian
            .run("grep VmHWM /proc/$(systemctl show -p MainPID --value fleet-gateway)/status")?;
        self.note(format!("started by systemd: {shown}"));
        self.note("its local broker tells a display that nothing is open");
        self.note(format!("doctor beside it: {doctor}"));
        self.note(format!("{}; {rss}", exposure.1));
        Ok(())
    }

    fn killed(&mut self) -> anyhow::Result<()> {
        self.site
            .debian
            .run("kill -9 $(systemctl show -p MainPID --value fleet-gateway)")?;
        self.expect_gone()?;
        self.end_life(Life::cut)?;
        self.expect_restarts(1)?;
        self.expect_readings()?;
        self.note("killed with SIGKILL: started again, readings go on");
        Ok(())
    }

    /// While the centre commits what is sent, nothing is written, and a card that hangs holds nothing up. Without
    /// a link the pipeline hangs in a write while every other thread goes on.
    fn hung(&mut self) -> anyhow::Result<()> {
        self.site.debian.run(&format!("fsfreeze -f {DATA}"))?;
        self.expect_readings().context("with a link")?;
        self.site.debian.0.qmp().set_link("n0", false)?;
        let watch = Stopwatch::start();
        wait_for("the watchdog", PATIENCE, || {
            let (_, text) = self
                .site
                .debian
                .code("journalctl -u fleet-gateway --no-pager | grep -c 'Watchdog timeout'")?;
            Ok((text.trim() != "0").then_some(()))
        })?;
        let elapsed = watch.elapsed().as_secs();
        self.site.debian.run(&format!("fsfreeze -u {DATA}"))?;
        self.site.debian.0.qmp().set_link("n0", true)?;
        self.expect_gone()?;
        self.end_life(|before, after| Life::hung(before, after, HUNG_TAIL_MAX))?;
        self.expect_restarts(2)?;
        self.expect_readings()?;
        self.note(format!(
            "the card hung: readings went on as long as there was a link; without one the watchdog gave the pipeline \
             up after {elapsed} s, started it again, readings go on"
        ));
        Ok(())
    }

    fn upgraded(&mut self, preloaded: &Truth) -> anyhow::Result<()> {
        self.site.debian.0.qmp().set_link("n0", false)?;
        let before = self.site.world.truth()?.temperatures.len();
        wait_for("readings without a link", PATIENCE, || {
            Ok((self.site.world.truth()?.temperatures.len() >= before + 15).then_some(()))
        })?;
        let sum = self
            .site
            .debian
            .run("sha256sum /etc/fleet-gateway/gateway.toml")?;
        // The pause lets the harness look between the two processes.
        self.site.debian.run(&format!(
            "printf '{PAUSE}' > /etc/systemd/system/fleet-gateway.service.d/pause.conf && systemctl daemon-reload && \
             (setsid sh -c 'dpkg -i {} > /run/upgrade.log 2>&1; echo $? > /run/upgrade.code' \
             > /dev/null 2>&1 &)",
            self.debs[1]
        ))?;
        wait_for("the pause between the two versions", PATIENCE, || {
            let (_, state) = self
                .site
                .debian
                .code("systemctl show -p SubState --value fleet-gateway")?;
            Ok((state == "start-pre").then_some(()))
        })?;
        self.end_life(Life::stopped)?;
        wait_for("the end of the upgrade", PATIENCE, || {
            let (code, text) = self
                .site
                .debian
                .code("cat /run/upgrade.code && cat /run/upgrade.log")?;
            ensure!(code != 0 || text.starts_with("0|"), "dpkg says {text}");
            Ok((code == 0).then_some(()))
        })?;
        let kept = self
            .site
            .debian
            .run("sha256sum /etc/fleet-gateway/gateway.toml")?;
        ensure!(sum == kept, "the configuration has changed: {sum}, {kept}");
        let version = self
            .site
            .debian
            .run("dpkg-query -W -f '${Version}' fleet-gateway")?;
        ensure!(version.ends_with("+r2"), "the version is {version}");
        self.site.debian.0.qmp().set_link("n0", true)?;
        self.expect_readings()?;
        self.site.debian.run("systemctl stop fleet-gateway")?;
        let after = self.site.world.truth()?;
        self.lives.push(Life::stopped(&self.before, &after));
        self.lives.push(Life::stopped(&Truth::default(), preloaded));
        // What a clean stop left unsent is sent by the next life, which takes no part in the comparison.
        self.site.debian.run("systemctl start fleet-gateway")?;
        let tally = wait_for("every reading of every life", PATIENCE, || {
            self.site.centre.check_children()?;
            Ok(self.compare(&after).ok())
        })
        .or_else(|late| self.compare(&after).context(late.to_string()))?;
        let report = self.site.centre.verify()?;
        for key in ["duplicates", "unexplained_gaps", "clashes"] {
            let count = report.get(key).and_then(Value::as_u64);
            ensure!(count == Some(0), "verify says {key}: {count:?}");
        }
        self.note(format!(
            "upgraded to {version} during an outage, {} readings in the spool from before: {} stored once, {} not yet \
             accepted at the kill and the hang",
            preloaded.temperatures.len(),
            tally.stored,
            tally.cut
        ));
        Ok(())
    }

    /// Every life with the database, the running one too, which began behind `stopped`.
    fn compare(&self, stopped: &Truth) -> anyhow::Result<Tally> {
        let running = Life::running(stopped, &self.site.world.truth()?);
        let lives: Vec<Life> = self.lives.iter().cloned().chain([running]).collect();
        oracle::compare(&lives, self.site.centre.stored()?)
    }

    fn removed(&mut self) -> anyhow::Result<()> {
        let debian = &mut self.site.debian;
        debian.run("dpkg -r fleet-gateway </dev/null")?;
        debian.run(&format!(
            "test -e /etc/fleet-gateway/gateway.toml && test -d {DATA}/spool"
        ))?;
        debian.run(&format!("umount {DATA}; dpkg -P fleet-gateway </dev/null"))?;
        debian.run(&format!("! test -e /etc/fleet-gateway && ! test -e {DATA}"))?;
        self.note("removal kept spool and configuration; purge removed both without a question");
        Ok(())
    }

    /// The process has ended, and the next one has not begun.
    fn expect_gone(&mut self) -> anyhow::Result<()> {
        wait_for("the end of the process", PATIENCE, || {
            let (_, id) = self
                .site
                .debian
                .code("systemctl show -p MainPID --value fleet-gateway")?;
            Ok((id == "0").then_some(()))
        })
    }

    fn end_life(&mut self, life: impl FnOnce(&Truth, &Truth) -> Life) -> anyhow::Result<()> {
        let after = self.site.world.truth()?;
        self.lives.push(life(&self.before, &after));
        self.before = after;
        Ok(())
    }

    fn expect_restarts(&mut self, count: u32) -> anyhow::Result<()> {
        wait_for("the restart", PATIENCE, || {
            let (_, shown) = self
                .site
                .debian
                .code("systemctl show -p NRestarts -p ActiveState fleet-gateway")?;
            let is_back = shown.contains(&format!("NRestarts={count}"))
                && shown.contains("ActiveState=active");
            Ok(is_back.then_some(()))
        })
    }

    /// Readings of the running process are in the database.
    fn expect_readings(&mut self) -> anyhow::Result<()> {
        let count = |centre: &Centre| {
            anyhow::Ok(
                centre
                    .stored()?
                    .iter()
                    .map(|epoch| epoch.temperatures.len())
                    .sum::<usize>(),
            )
        };
        let handed_out = self.site.world.truth()?.temperatures.len();
        wait_for("more readings from the chip", PATIENCE, || {
            Ok(
                (self.site.world.truth()?.temperatures.len() >= handed_out + READINGS)
                    .then_some(()),
            )
        })?;
        let stored = count(&self.site.centre)?;
        wait_for("more readings in the database", PATIENCE, || {
            self.site.centre.check_children()?;
            Ok((count(&self.site.centre)? >= stored + READINGS).then_some(()))
        })
    }
}

fn configuration(port: u16) -> String {
    format!(
        "[device]\nid = \"board-1\"\n\n[spool]\ndir = \"{DATA}/spool\"\n\n[status]\n\
         socket = \"/run/fleet-gateway/status.sock\"\n\n[broker]\nhost = \"broker.test\"\nport = {port}\n\
         backoff_ms_min = 100\nbackoff_ms_max = 1000\nreconnect_spread_ms = 0\n\n[[bus]]\nname = \"usb\"\n\
         path = \"@I2C@\"\n\n[[bus.sensor]]\nname = \"cargo\"\ndriver = \"tmp117\"\naddress = {THERMOMETER}\n\
         role = \"load\"\nperiod_ms = 1000\n\n[[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\n\
         address = {RECEIVER}\nrole = \"vehicle\"\n\n[local_broker]\nlisten = \"127.0.0.1:1884\"\n"
    )
}
