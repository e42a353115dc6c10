//! A vehicle gets its identity: once, from a person or from a folder on the boot partition.
//!
//! Promises: nothing is overwritten: a vehicle that has an identity keeps it; the configuration appears under
//! its name only after it was checked, so a start never sees half of it; a key ends readable for the
//! gateway's user alone, and gone from the folder that it came from. Never: a name that nobody gave: two
//! vehicles with one name are two truths under one key.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use firmware_shared::id::DeviceId;

use crate::config::Config;

/// What the package brings to start from.
const TEMPLATE: &str = include_str!("../../cross/package/fleet-gateway/gateway.toml");
/// The user of the package's service.
const USER: &str = "fleet-gateway";
/// Where the boot partition of a Raspberry Pi can be, the later name first.
pub const BOOT_FOLDERS: [&str; 2] = ["/boot/firmware/fleet-gateway", "/boot/fleet-gateway"];
const CONFIG_NAME: &str = "gateway.toml";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is one.
    #[error("{file}: this vehicle has an identity; remove the file to give it another")]
    Named {
        /// The configuration.
        file: PathBuf,
    },
    /// What is given cannot be used.
    #[error("{0}")]
    Refused(String),
    /// The system refuses.
    #[error("{path}: {source}")]
    System {
        /// What was worked on.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> EnrolError + use<> {
    let path = path.to_owned();
    move |source| EnrolError::System { path, source }
}

/// Refuses where there is an identity.
///
/// # Errors
/// [`EnrolError::Named`].
pub fn check_unnamed(config: &Path) -> Result<(), EnrolError> {
    match config.exists() {
        true => Err(EnrolError::Named {
            file: config.to_owned(),
        }),
        false => Ok(()),
    }
}

/// The first of the folders that holds a configuration.
#[must_use]
pub fn find(folders: &[PathBuf]) -> Option<PathBuf> {
    folders
        .iter()
        .find(|folder| folder.join(CONFIG_NAME).is_file())
        .cloned()
}

/// Takes a configuration and the files beside it from a folder; which device it is then.
///
/// # Errors
/// [`EnrolError`]; the configuration is not written then.
pub fn take(folder: &Path, config: &Path) -> Result<DeviceId, EnrolError> {
    check_unnamed(config)?;
    let source = folder.join(CONFIG_NAME);
    let text = fs::read_to_string(&source).map_err(system(&source))?;
    let home = config.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(home).map_err(system(home))?;
    let mut secrets = Vec::new();
    for entry in fs::read_dir(folder).map_err(system(folder))? {
        let path = entry.map_err(system(folder))?.path();
        let Some(name) = path.file_name().filter(|name| *name != CONFIG_NAME) else {
            continue;
        };
        if path.is_file() {
            let is_secret = is_secret(&path);
            let bytes = fs::read(&path).map_err(system(&path))?;
            put(&home.join(name), &bytes, is_secret)?;
            secrets.extend(is_secret.then_some(path));
        }
    }
    let device = write_checked(config, &text)?;
    for secret in secrets {
        // A card's boot partition can be read by whoever holds the card.
        fs::remove_file(&secret).map_err(system(&secret))?;
    }
    Ok(device)
}

/// What must not be readable for others: keys and passwords.
fn is_secret(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".key") || name.contains("password")
}

/// Asks a person; which device it is then.
///
/// # Errors
/// [`EnrolError`]; the configuration is not written then.
pub fn ask(
    config: &Path,
    mut input: impl BufRead,
    mut output: impl Write,
) -> Result<DeviceId, EnrolError> {
    check_unnamed(config)?;
    let mut dialogue = Dialogue {
        input: &mut input,
        output: &mut output,
    };
    let device = dialogue.until(
        "Name of this vehicle (a-z, 0-9, _ and -, at most 32, unique in the fleet)",
        |text| text.parse::<DeviceId>().ok(),
    )?;
    let host = dialogue.until("Host of the broker", |text| {
        let is_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"');
        is_word.then(|| text.to_owned())
    })?;
    let certificates = dialogue.until(
        "Folder with ca.crt, device.crt and device.key (empty: a connection without TLS)",
        |text| {
            let folder = PathBuf::from(text);
            let names = ["ca.crt", "device.crt", "device.key"];
            let is_whole = text.is_empty() || names.iter().all(|n| folder.join(n).is_file());
            is_whole.then_some(folder)
        },
    )?;
    let usual = if certificates.as_os_str().is_empty() {
        1883
    } else {
        8883
    };
    let port = dialogue.until(&format!("Port [{usual}]"), |text| match text {
        "" => Some(usual),
        text => text.parse::<u16>().ok().filter(|port| *port > 0),
    })?;
    let home = config.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(home).map_err(system(home))?;
    let mut keys = String::new();
    if !certificates.as_os_str().is_empty() {
        keys.push_str("\ntransport = \"tls\"");
        for (key, name) in [
            ("ca_file", "ca.crt"),
            ("cert_file", "device.crt"),
            ("key_file", "device.key"),
        ] {
            let from = certificates.join(name);
            let bytes = fs::read(&from).map_err(system(&from))?;
            put(&home.join(name), &bytes, is_secret(&from))?;
            keys.push_str(&format!("\n{key} = \"{name}\""));
        }
    }
    let text = TEMPLATE
        .replace("CHANGE-ME", device.as_str())
        .replace("broker.example", &host)
        .replace("port = 1883", &format!("port = {port}{keys}"));
    write_checked(config, &text)
}

/// Questions and answers, one a line.
struct Dialogue<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Dialogue<'_> {
    /// Asks until the answer can be used.
    fn until<T>(
        &mut self,
        question: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, EnrolError> {
        let failed = |source| EnrolError::System {
            path: "terminal".into(),
            source,
        };
        loop {
            write!(self.output, "{question}: ")
                .and_then(|()| self.output.flush())
                .map_err(failed)?;
            let mut line = String::new();
            if self.input.read_line(&mut line).map_err(failed)? == 0 {
                return Err(EnrolError::Refused(
                    "the answers ended before the last question; nothing was written".to_owned(),
                ));
            }
            match parse(line.trim()) {
                Some(answer) => return Ok(answer),
                None => {
                    writeln!(self.output, "  {:?} is not allowed", line.trim()).map_err(failed)?
                }
            }
        }
    }
}

/// Writes the configuration beside its name, checks it there, and gives it its name.
fn write_checked(config: &Path, text: &str) -> Result<DeviceId, EnrolError> {
    let draft = config.with_extension("toml.new");
    put(&draft, text.as_bytes(), false)?;
    let checked = Config::read(&draft).map_err(|error| EnrolError::Refused(error.to_string()));
    let device = checked.and_then(|checked| {
        let keys = checked.broker.keys.read();
        keys.map_err(EnrolError::Refused)?;
        Ok(checked.device)
    });
    match &device {
        Ok(_) => fs::rename(&draft, config).map_err(system(config))?,
        Err(_) => fs::remove_file(&draft).map_err(system(&draft))?,
    }
    device
}

/// Writes a file that the gateway's user can read; a secret is his alone.
fn put(path: &Path, bytes: &[u8], is_secret: bool) -> Result<(), EnrolError> {
    let mode = if is_secret { 0o600 } else { 0o640 };
    // Made anew, so that neither mode nor owner of an older file stays.
    fs::remove_file(path)
        .or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
        .map_err(system(path))?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(system(path))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(system(path))?;
    give(path, is_secret).map_err(system(path))
}

/// The folder's group may read; a secret belongs to the gateway's user. Without root there is nothing to give.
fn give(path: &Path, is_secret: bool) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let owner = is_secret.then(user_id).flatten();
    chown(path, owner, Some(fs::metadata(folder)?.gid()))
}

/// The number of the gateway's user, where the package has made one.
fn user_id() -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(USER)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Vehicle {
        _home: tempfile::TempDir,
        boot: PathBuf,
        config: PathBuf,
    }

    fn vehicle() -> Vehicle {
        let home = tempfile::tempdir().unwrap();
        let boot = home.path().join("boot");
        fs::create_dir(&boot).unwrap();
        Vehicle {
            boot,
            config: home.path().join("etc/gateway.toml"),
            _home: home,
        }
    }

    fn whole() -> String {
        TEMPLATE.replace("CHANGE-ME", "truck-007")
    }

    #[test]
    fn the_package_brings_no_identity() {
        assert!(Config::parse(Path::new("/etc/gateway.toml"), TEMPLATE).is_err());
    }

    #[test]
    fn a_person_is_asked_until_the_answers_can_be_used() {
        let v = vehicle();
        let mut said = Vec::new();
        let answers = "Truck 7\ntruck-007\n\nbroker.test\n/nowhere\n\n0\n1884\n";
        let device = ask(&v.config, answers.as_bytes(), &mut said).unwrap();
        assert_eq!(device.as_str(), "truck-007");
        let config = Config::read(&v.config).unwrap();
        assert_eq!(
            (config.broker.host.as_str(), config.broker.port),
            ("broker.test", 1884)
        );
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.matches("is not allowed").count(), 4, "{said}");
    }

    #[test]
    fn certificates_are_taken_along_and_the_key_is_for_its_owner_alone() {
        let v = vehicle();
        for name in ["ca.crt", "device.crt", "device.key"] {
            fs::write(v.boot.join(name), name).unwrap();
        }
        let answers = format!("truck-007\nbroker.test\n{}\n\n", v.boot.display());
        ask(&v.config, answers.as_bytes(), io::sink()).unwrap();
        let config = Config::read(&v.config).unwrap();
        assert_eq!(config.broker.port, 8883);
        let tls = config.broker.keys.tls.unwrap();
        let (_, key) = tls.client.unwrap();
        assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn answers_that_end_early_leave_nothing() {
        let v = vehicle();
        let error = ask(&v.config, "truck-007\n".as_bytes(), io::sink()).unwrap_err();
        assert!(error.to_string().contains("nothing was written"));
        assert!(!v.config.exists());
    }

    #[test]
    fn a_folder_on_the_boot_partition_names_the_vehicle_and_loses_its_key() {
        let v = vehicle();
        fs::write(v.boot.join(CONFIG_NAME), whole()).unwrap();
        fs::write(v.boot.join("device.key"), "secret").unwrap();
        let folder = find(&[v.config.clone(), v.boot.clone()]).unwrap();
        let device = take(&folder, &v.config).unwrap();
        assert_eq!(device.as_str(), "truck-007");
        let key = v.config.with_file_name("device.key");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        assert!(!v.boot.join("device.key").exists());
        assert!(v.boot.join(CONFIG_NAME).exists());
    }

    #[test]
    fn a_folder_with_a_bad_configuration_names_nobody_and_keeps_its_key() {
        let v = vehicle();
        fs::write(v.boot.join(CONFIG_NAME), TEMPLATE).unwrap();
        fs::write(v.boot.join("device.key"), "secret").unwrap();
        let error = take(&v.boot, &v.config).unwrap_err().to_string();
        assert!(error.contains("CHANGE-ME"), "{error}");
        assert!(!v.config.exists() && !v.config.with_extension("toml.new").exists());
        assert!(v.boot.join("device.key").exists());
    }

    #[test]
    fn a_vehicle_that_has_a_name_keeps_it() {
        let v = vehicle();
        fs::write(v.boot.join(CONFIG_NAME), whole()).unwrap();
        take(&v.boot, &v.config).unwrap();
        let before = fs::read_to_string(&v.config).unwrap();
        let error = take(&v.boot, &v.config).unwrap_err();
        assert!(matches!(error, EnrolError::Named { .. }), "{error}");
        let error = ask(&v.config, "other\nb\n\n\n".as_bytes(), io::sink()).unwrap_err();
        assert!(matches!(error, EnrolError::Named { .. }), "{error}");
        assert_eq!(fs::read_to_string(&v.config).unwrap(), before);
    }
}
