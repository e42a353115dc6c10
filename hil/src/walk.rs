//! "Install on a Raspberry Pi" of the README, walked as somebody walks it who has never seen the gateway.
//!
//! Promises: the commands of that section are run as they stand there and in their order, by root of a Debian with
//! systemd, on a terminal where they ask; what each of them shows is looked at; a command that the walk does not
//! know fails it, also without an emulator. Two are played: the editor, which writes the name that the guest's
//! kernel gave to the bus, and the subscription, which the harness holds from the beginning, with `--json`.
//! Never: a step that the README does not have, but for the answers to the questions.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::clock::{Stopwatch, wait_for};
use crate::oracle::{self, Life};
use crate::rig::{Measured, PATIENCE};
use crate::site::{BENCH, Packages, Site};
use crate::world::Truth;

const README: &str = include_str!("../../README.md");
const SECTION: &str = "## Install on a Raspberry Pi";
/// Commands stand below a numbered step.
const INDENT: &str = "       ";
const DEVICE: &str = "board-1";
/// The bus of a Raspberry Pi's header, in the configuration that `identify` writes.
const HEADER_BUS: &str = "/dev/i2c-1";
/// A look at `status --watch`.
const WATCH_S: u32 = 4;
const SEED: u64 = 43;

/// What a command of the section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Install,
    Identify,
    Doctor,
    Edit,
    CheckConfig,
    Start,
    Watch,
    Alerts,
}

impl Step {
    fn of(command: &str) -> anyhow::Result<Self> {
        let known = [
            ("apt install ./", Self::Install),
            ("fleet-gateway identify", Self::Identify),
            ("fleet-gateway doctor", Self::Doctor),
            ("sudoedit ", Self::Edit),
            ("fleet-gateway check-config ", Self::CheckConfig),
            ("systemctl start fleet-gateway ", Self::Start),
            ("fleet-gateway status ", Self::Watch),
            ("fleet-central alerts --follow ", Self::Alerts),
        ];
        match known.iter().find(|(start, _)| command.starts_with(start)) {
            Some((_, step)) => Ok(*step),
            None => {
                bail!("the README says {command:?}, and the walk does not know how to look at it")
            }
        }
    }
}

/// The commands of the section, for root.
fn commands(readme: &str) -> Vec<String> {
    let section = readme.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with(INDENT))
        .map(|line| {
            let command = line.split("  #").next().unwrap_or_default();
            command.trim().replace("sudo ", "")
        })
        .collect()
}

struct Walk {
    site: Site,
    /// What doctor had read before the gateway started.
    before: Truth,
    sentences: Vec<String>,
}

/// Runs the scenario; what was measured.
///
/// # Errors
/// When a command does not do what the README says.
pub fn run(given: &Packages<'_>) -> anyhow::Result<Measured> {
    let site = Site::open(given, SEED, &|_, _| Ok(()), None)?;
    let sentences = vec![format!("Debian with systemd after {} s", site.boot_s)];
    let mut walk = Walk {
        site,
        before: Truth::default(),
        sentences,
    };
    for command in commands(README) {
        let step = Step::of(&command)?;
        let shown = walk
            .follow(step, &command)
            .with_context(|| format!("README: {command}"))?;
        walk.sentences.push(format!("{command}: {shown}"));
    }
    walk.end()?;
    Ok(Measured {
        sentences: walk.sentences,
        ..Measured::default()
    })
}

impl Walk {
    /// Does a step; what it showed.
    fn follow(&mut self, step: Step, command: &str) -> anyhow::Result<String> {
        let debian = &mut self.site.debian;
        match step {
            Step::Install => {
                debian.run(&format!("cd {BENCH} && {command}"))?;
                let (_, active) = debian.code("systemctl is-active fleet-gateway")?;
                ensure!(active == "inactive", "without an identity it is {active}");
                debian.run("systemctl is-enabled fleet-gateway")
            }
            Step::Identify => {
                let port = self.site.centre.port();
                let answers = format!("{DEVICE}\\nbroker.test\\n\\n{port}\\n");
                let said = debian.run(&format!(
                    "printf '{answers}' | script -qec '{command}' /dev/null"
                ))?;
                ensure!(
                    said.contains(&format!("this vehicle is {DEVICE}")),
                    "{said}"
                );
                Ok(said)
            }
            Step::Doctor => self.doctor(command),
            Step::Edit => {
                let file = command.split(' ').nth(1).context("a file")?;
                let bus = self.site.bus()?;
                self.site
                    .debian
                    .run(&format!("sed -i s,{HEADER_BUS},/dev/{bus}, {file}"))?;
                Ok(format!("the bus is /dev/{bus}"))
            }
            Step::CheckConfig => {
                let said = debian.run(command)?;
                ensure!(said.contains(DEVICE), "{said}");
                Ok(format!("{} characters of defaults", said.len()))
            }
            Step::Start => {
                self.before = self.site.world.truth()?;
                let said = debian.run(command)?;
                ensure!(said.contains("active (running)"), "{said}");
                self.first_readings()?;
                Ok(said)
            }
            Step::Watch => {
                // A person ends it with Ctrl-C.
                let (_, said) = debian.code(&format!(
                    "TERM=xterm script -qec 'timeout -s INT {WATCH_S} {command}' /dev/null"
                ))?;
                for word in [DEVICE, "cargo", "gnss"] {
                    ensure!(said.contains(word), "{word} is not in {said}");
                }
                Ok(format!("{} characters in {WATCH_S} s", said.len()))
            }
            Step::Alerts => self.warm_hand(),
        }
    }

    /// Before the file was edited, the bus of the header is missing, and doctor says which ones there are.
    fn doctor(&mut self, command: &str) -> anyhow::Result<String> {
        let bus = self.site.bus()?;
        let (code, said) = self.site.debian.code(command)?;
        ensure!(code == 1, "it ended with {code}: {said}");
        let missing = format!("at {HEADER_BUS}, and there is none");
        for words in [missing.as_str(), bus.as_str(), "0x48 tmp117", "0x42 u-blox"] {
            let is_said = said.to_lowercase().contains(words);
            ensure!(is_said, "{words} is not in {said}");
        }
        Ok(said)
    }

    fn first_readings(&mut self) -> anyhow::Result<()> {
        wait_for("readings of both parts at the centre", PATIENCE, || {
            self.site.centre.check_children()?;
            let stored = self.site.centre.stored()?;
            Ok(stored
                .iter()
                .any(|epoch| !epoch.temperatures.is_empty() && !epoch.fixes.is_empty())
                .then_some(()))
        })
    }

    fn warm_hand(&mut self) -> anyhow::Result<String> {
        self.site.world.heat();
        let watch = Stopwatch::start();
        let alert = wait_for("the alert at the subscriber", PATIENCE, || {
            let alerts = self.site.centre.alerts()?;
            Ok(alerts.into_iter().find(|alert| {
                let word = |key: &str| alert.get(key).and_then(Value::as_str);
                word("kind") == Some("limit_high") && word("state") == Some("raised")
            }))
        })?;
        let text = alert.get("text").and_then(Value::as_str).unwrap_or("?");
        Ok(format!("{text}, after {} ms", watch.elapsed_ms()))
    }

    /// All that the gateway read is at the centre, once.
    fn end(&mut self) -> anyhow::Result<()> {
        self.site.debian.run("systemctl stop fleet-gateway")?;
        let life = Life::stopped(&self.before, &self.site.world.truth()?);
        let lives = std::slice::from_ref(&life);
        let compare = |site: &Site| oracle::compare(lives, site.centre.stored()?);
        let tally = wait_for("the last commit", PATIENCE, || {
            self.site.centre.check_children()?;
            Ok(compare(&self.site).ok())
        })
        .or_else(|_| compare(&self.site))?;
        self.site.centre.verify()?;
        self.sentences
            .push(format!("{} readings of the walk stored once", tally.stored));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_knows_every_command_of_the_readme_and_the_readme_has_every_step() {
        let steps: Vec<Step> = commands(README)
            .iter()
            .map(|command| Step::of(command).unwrap())
            .collect();
        assert_eq!(
            steps,
            [
                Step::Install,
                Step::Identify,
                Step::Doctor,
                Step::Edit,
                Step::CheckConfig,
                Step::Start,
                Step::Watch,
                Step::Alerts,
            ]
        );
    }

    #[test]
    fn a_command_is_taken_without_its_remark_and_an_unknown_one_is_refused() {
        let readme = "x\n## Install on a Raspberry Pi\n1. Do:\n\n       sudo a b   # why\n\n## Next\n       c\n";
        assert_eq!(commands(readme), ["a b"]);
        assert!(Step::of("a b").is_err());
    }
}
