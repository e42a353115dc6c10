//! Who this vehicle is, and whether it is alone in being it.
//!
//! Promises: a missing identity, one that cannot be used, one that two devices share, and a bus of its
//! configuration that is not there are each told with what to do. Never: a secret, a question to the centre.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{InUse, Problem};
use crate::config::{BusConfig, BusPath, Config, ConfigError};
use crate::notify::{NoProgram, find_program};
use crate::status::{self, AskError};

/// What is known about the identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdentityReport {
    /// The configuration.
    pub file: String,
    /// The name.
    pub device: Option<String>,
    /// Whether a gateway answers.
    pub is_running: bool,
    /// What should be changed.
    pub problems: Vec<Problem>,
    /// What that gateway reads.
    #[serde(skip)]
    pub in_use: InUse,
}

/// Looks at a configuration, and at the gateway that runs with it.
#[must_use]
pub fn examine_identity(file: &Path) -> IdentityReport {
    let mut report = IdentityReport {
        file: file.display().to_string(),
        device: None,
        is_running: false,
        problems: Vec::new(),
        in_use: InUse::default(),
    };
    match Config::read(file) {
        Ok(config) => {
            report.device = Some(config.device.to_string());
            if let Err(sentence) = config.broker.keys.read() {
                report.problems.push(unusable_keys(sentence));
            }
            report
                .problems
                .extend(config.buses.iter().filter_map(no_bus));
            if let Some(Err(missing)) = config.notify.broker.as_ref().map(find_program) {
                report.problems.push(no_broker(&missing));
            }
            match status::ask(&config.status.socket) {
                Ok(answer) => {
                    report.is_running = true;
                    report.in_use = InUse::by(&config);
                    report.problems.extend(clash(&answer));
                }
                // It runs, too.
                Err(AskError::Answer { .. }) => report.in_use = InUse::by(&config),
                Err(AskError::Unreachable { .. }) => {}
            }
        }
        Err(ConfigError::Unreadable { .. }) if !file.exists() => {
            report.problems.push(missing(file));
        }
        Err(error) => report.problems.push(Problem {
            what: error.to_string(),
            advice: "correct it, then `sudo systemctl restart fleet-gateway`".to_owned(),
        }),
    }
    report
}

fn missing(file: &Path) -> Problem {
    Problem {
        what: format!(
            "this vehicle has no identity: there is no {}",
            file.display()
        ),
        advice: "an image or a package carries none, because copies of a name are two devices in one: run \
                 `sudo fleet-gateway identify`, or put gateway.toml with the certificates into the folder \
                 fleet-gateway of the boot partition and start again"
            .to_owned(),
    }
}

fn unusable_keys(sentence: String) -> Problem {
    Problem {
        what: sentence,
        advice: "look at it as the user of the service: `sudo -u fleet-gateway fleet-gateway doctor`; ask the \
                 one who runs the broker for a certificate of this vehicle's own"
            .to_owned(),
    }
}

fn no_bus(bus: &BusConfig) -> Option<Problem> {
    match &bus.path {
        BusPath::Device(path) if !path.exists() => Some(Problem {
            what: format!(
                "the configuration reads bus {:?} at {}, and there is none",
                bus.name,
                path.display()
            ),
            advice: "set its path to the bus below on which the parts are".to_owned(),
        }),
        BusPath::Device(_) | BusPath::Scenario(_) => None,
    }
}

fn no_broker(missing: &NoProgram) -> Problem {
    Problem {
        what: missing.to_string(),
        advice: "displays hear nothing: install the package of fleet-gateway again, or remove [local_broker]"
            .to_owned(),
    }
}

/// What the running gateway says about a second one.
fn clash(answer: &Value) -> Option<Problem> {
    let alarms = answer.pointer("/deliver/alarms")?.as_array()?;
    if !alarms.iter().any(|alarm| alarm == "identity_clash") {
        return None;
    }
    let device = answer.get("device").and_then(Value::as_str).unwrap_or("?");
    Some(Problem {
        what: format!(
            "identity_clash: the centre has other readings under the numbers of {device:?}; a second device has \
             this name, or this card is a copy of one that runs elsewhere"
        ),
        advice: "find the other one (the centre's table `alarms` has both boots), then give one of them a name of \
                 its own: `sudo systemctl stop fleet-gateway`, remove /etc/fleet-gateway and \
                 /var/lib/fleet-gateway, `sudo fleet-gateway identify`. Make images for many vehicles before \
                 the first `identify`, never from a vehicle that has run"
            .to_owned(),
    })
}

impl IdentityReport {
    /// Whether there is nothing that a person should change.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }

    /// The report in plain words.
    #[must_use]
    pub fn text(&self) -> String {
        let name = self.device.as_deref().unwrap_or("no name");
        let runs = if self.is_running {
            ", its gateway answers"
        } else {
            ""
        };
        let mut text = format!("identity: {name} ({}{runs})\n", self.file);
        text.extend(self.problems.iter().map(Problem::text));
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn examined(text: Option<&str>) -> IdentityReport {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        examine_identity(&file)
    }

    #[test]
    fn a_missing_identity_is_told_with_how_to_get_one() {
        let text = examined(None).text();
        assert!(text.contains("has no identity"), "{text}");
        assert!(text.contains("fleet-gateway identify"), "{text}");
    }

    #[test]
    fn an_identity_that_cannot_be_used_is_told_with_its_place() {
        let bad = examined(Some("[device]\nid = \"CHANGE-ME\"\n"));
        assert!(
            !bad.is_well() && bad.text().contains("CHANGE-ME"),
            "{bad:?}"
        );
        let no_key = "[device]\nid = \"truck-1\"\n[broker]\nhost = \"b\"\ntransport = \"tls\"\n\
                      ca_file = \"ca.crt\"\n[[bus]]\nname = \"i\"\npath = \"/dev/i2c-1\"\n\
                      [[bus.sensor]]\nname = \"s\"\ndriver = \"tmp117\"\naddress = 0x48\n";
        let report = examined(Some(no_key));
        assert!(report.text().contains("ca.crt"), "{}", report.text());
    }

    #[test]
    fn a_bus_of_the_configuration_that_is_not_there_is_told() {
        let with = |path: &str| {
            examined(Some(&format!(
                "[device]\nid = \"truck-1\"\n[broker]\nhost = \"b\"\n[[bus]]\nname = \"hold\"\npath = \"{path}\"\n\
                 [[bus.sensor]]\nname = \"s\"\ndriver = \"tmp117\"\naddress = 0x48\n"
            )))
        };
        let missing = with("/dev/i2c-97").text();
        assert!(
            missing.contains("\"hold\" at /dev/i2c-97, and there is none"),
            "{missing}"
        );
        assert!(with("sim:scenario.toml").is_well());
    }

    #[test]
    fn what_a_running_gateway_reads_is_in_use_and_nothing_else() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (
            folder.path().join("gateway.toml"),
            folder.path().join("status.sock"),
        );
        let text = format!(
            "[device]\nid = \"truck-1\"\n[broker]\nhost = \"b\"\n[status]\nsocket = {socket:?}\n\
             [[bus]]\nname = \"i\"\npath = \"/dev/i2c-1\"\n\
             [[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\naddress = 0x42\n"
        );
        std::fs::write(&file, text).unwrap();
        let in_use = || examine_identity(&file).in_use;
        assert_eq!(in_use(), InUse::default(), "nobody listens");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let gateway =
            std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"{}").unwrap());
        let found = in_use();
        gateway.join().unwrap();
        let of = |bus: &str| found.of(Path::new(bus)).collect::<Vec<_>>();
        assert_eq!(of("/dev/i2c-1"), [(0x42, "gnss")]);
        assert_eq!(of("/dev/i2c-2"), []);
    }

    #[test]
    fn a_local_broker_that_is_not_installed_is_told_with_the_place() {
        let report = examined(Some(
            "[device]\nid = \"truck-1\"\n[broker]\nhost = \"b\"\n[[bus]]\nname = \"i\"\npath = \"/dev/i2c-1\"\n\
             [[bus.sensor]]\nname = \"s\"\ndriver = \"tmp117\"\naddress = 0x48\n\
             [local_broker]\nlisten = \"127.0.0.1:1884\"\nprogram = \"/nowhere/broker\"\n",
        ));
        assert!(
            report.text().contains("/nowhere/broker"),
            "{}",
            report.text()
        );
    }

    #[test]
    fn a_clash_of_identities_is_explained() {
        let quiet = json!({ "device": "truck-1", "deliver": { "alarms": ["evicting"] } });
        assert_eq!(clash(&quiet), None);
        let answer = json!({ "device": "truck-1", "deliver": { "alarms": ["identity_clash"] } });
        let problem = clash(&answer).unwrap();
        assert!(problem.what.contains("truck-1") && problem.advice.contains("identify"));
    }
}
