//! Fetches what an emulated board needs from the machine's Debian archive.
//!
//! Promises: apt runs on a root of its own, so the machine's package state is neither changed nor locked;
//! every package is compared with the SHA-256 of the signed index and recorded in `packages.json`; that
//! file is written last, so a fetch that was broken off is begun again. Never: a package installed, or a
//! version written into this source: names are resolved by `Depends`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// Programs that must be on the machine itself.
const TOOLS: [&str; 6] = [
    "apt-get",
    "apt-cache",
    "dpkg",
    "dpkg-deb",
    "sha256sum",
    "nice",
];

/// One package as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name, with `:arm64` for those of the guest.
    pub name: String,
    /// Version.
    pub version: String,
    /// Of the `.deb`, as the signed index says it.
    pub sha256: String,
}

/// What `packages.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    kernel_release: String,
    packages: Vec<Package>,
}

/// The unpacked packages.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
    kernel_release: String,
}

/// What came of a fetch.
#[derive(Debug)]
pub enum Fetched {
    /// All parts are there.
    Ready(Parts),
    /// They cannot be had on this machine, and why.
    Unavailable(String),
}

impl Parts {
    fn host(&self) -> PathBuf {
        self.folder.join("host")
    }

    fn guest(&self) -> PathBuf {
        self.folder.join("guest")
    }

    /// The emulator, ready to be given arguments; niced, because tests share the machine with people.
    #[must_use]
    pub fn qemu(&self) -> Command {
        let host = self.host();
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libs = ["usr/lib", "lib"].map(|place| host.join(place).join(&triplet));
        let search = libs
            .iter()
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>();
        let mut command = Command::new("nice");
        command
            .args(["-n", "5"])
            .arg(host.join("usr/bin/qemu-system-aarch64"));
        command.arg("-L").arg(host.join("usr/share/qemu"));
        command.env("LD_LIBRARY_PATH", search.join(":"));
        command.env(
            "QEMU_MODULE_DIR",
            host.join("usr/lib").join(&triplet).join("qemu"),
        );
        command
    }

    /// The guest's kernel.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.guest()
            .join(format!("boot/vmlinuz-{}", self.kernel_release))
    }

    /// The device tree of a Raspberry Pi 3B.
    #[must_use]
    pub fn pi3_tree(&self) -> PathBuf {
        self.guest().join(format!(
            "usr/lib/linux-image-{}/broadcom/bcm2837-rpi-3-b.dtb",
            self.kernel_release
        ))
    }

    /// The guest's kernel modules.
    ///
    /// # Errors
    /// When the package has none.
    pub fn modules(&self) -> anyhow::Result<PathBuf> {
        ["lib/modules", "usr/lib/modules"]
            .map(|place| self.guest().join(place).join(&self.kernel_release))
            .into_iter()
            .find(|folder| folder.is_dir())
            .with_context(|| {
                format!(
                    "no modules of {} in the kernel package",
                    self.kernel_release
                )
            })
    }

    /// The guest's shell and tools.
    ///
    /// # Errors
    /// When the package has none.
    pub fn busybox(&self) -> anyhow::Result<PathBuf> {
        ["bin/busybox", "usr/bin/busybox"]
            .map(|place| self.guest().join(place))
            .into_iter()
            .find(|file| file.is_file())
            .context("no busybox in the package busybox-static")
    }

    /// The kernel's release, as `uname -r` says it.
    #[must_use]
    pub fn kernel_release(&self) -> &str {
        &self.kernel_release
    }
}

/// The parts in `folder`; fetched when they are not there.
///
/// # Errors
/// When a package is damaged or differs from the signed index. That a package or the network is not there
/// is not an error but [`Fetched::Unavailable`].
pub fn provide(folder: &Path) -> anyhow::Result<Fetched> {
    let record_file = folder.join("packages.json");
    if let Ok(bytes) = fs::read(&record_file) {
        let record: Record = serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "read {}: remove the folder to fetch again",
                record_file.display()
            )
        })?;
        let kernel_release = record.kernel_release;
        return Ok(Fetched::Ready(Parts {
            folder: folder.to_owned(),
            kernel_release,
        }));
    }
    if let Some(reason) = unavailable_tools() {
        return Ok(Fetched::Unavailable(reason));
    }
    let apt = match Apt::open(&folder.join("apt")) {
        Ok(apt) => apt,
        Err(error) => return Ok(Fetched::Unavailable(format!("{error:#}"))),
    };
    let fetched = apt
        .resolve()
        .and_then(|wanted| apt.download(&wanted).map(|()| wanted));
    let wanted = match fetched {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Fetched::Unavailable(format!("{error:#}"))),
    };
    let packages = apt.verify(&wanted)?;
    let kernel_release = wanted.kernel_release.clone();
    apt.unpack(&wanted, folder)?;
    let record = Record {
        kernel_release: kernel_release.clone(),
        packages,
    };
    fs::write(&record_file, serde_json::to_vec_pretty(&record)?)?;
    fs::remove_dir_all(folder.join("apt"))?;
    Ok(Fetched::Ready(Parts {
        folder: folder.to_owned(),
        kernel_release,
    }))
}

fn unavailable_tools() -> Option<String> {
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !on_path(tool)).collect();
    (!missing.is_empty()).then(|| format!("this machine has no {}", missing.join(", ")))
}

/// Whether a program is installed.
#[must_use]
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// Names with exact versions.
#[derive(Debug)]
struct Wanted {
    host: Vec<(String, String)>,
    guest: Vec<(String, String)>,
    kernel_release: String,
}

/// apt on a root of its own.
#[derive(Debug)]
struct Apt {
    folder: PathBuf,
    codename: String,
}

impl Apt {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let codename = debian_codename()?;
        for sub in [
            "lists/partial",
            "archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "dpkg",
            "debs",
        ] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let installed = fs::read_to_string("/var/lib/dpkg/status")
            .context("read the list of installed packages")?;
        fs::write(folder.join("dpkg/status"), without_qemu(&installed))?;
        fs::write(folder.join("etc/sources.list"), sources(&codename)?)?;
        let host = run(Command::new("dpkg").arg("--print-architecture"))?;
        fs::write(folder.join("apt.conf"), configuration(folder, host.trim()))?;
        let apt = Self {
            folder: folder.to_owned(),
            codename,
        };
        run(apt
            .command("apt-get")
            .args(["-qq", "--error-on=any", "update"]))
        .context("fetch the package lists")?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    fn resolve(&self) -> anyhow::Result<Wanted> {
        let backports = format!("{}-backports", self.codename);
        let uris = run(self.command("apt-get").args([
            "install",
            "-qq",
            "--print-uris",
            "--no-install-recommends",
            "-t",
            &backports,
            "qemu-system-arm",
        ]))
        .context("resolve qemu-system-arm")?;
        let host: Vec<_> = uris.lines().filter_map(named_by_uri).collect();
        ensure!(!host.is_empty(), "the archive has no qemu-system-arm");
        let meta = self.show("linux-image-arm64:arm64")?;
        let (kernel, kernel_version) =
            kernel_of(&meta).context("linux-image-arm64 depends on no linux-image package")?;
        let kernel_release = kernel.trim_start_matches("linux-image-").to_owned();
        let busybox = self.show("busybox-static:arm64")?;
        let busybox_version =
            field(&busybox, "Version").context("the archive has no busybox-static for arm64")?;
        let guest = vec![
            (format!("{kernel}:arm64"), kernel_version),
            (
                "busybox-static:arm64".to_owned(),
                busybox_version.to_owned(),
            ),
        ];
        Ok(Wanted {
            host,
            guest,
            kernel_release,
        })
    }

    fn show(&self, package: &str) -> anyhow::Result<String> {
        run(self
            .command("apt-cache")
            .args(["show", "--no-all-versions", package]))
        .with_context(|| format!("look up {package}"))
    }

    fn download(&self, wanted: &Wanted) -> anyhow::Result<()> {
        let mut command = self.command("apt-get");
        command
            .args(["-qq", "download"])
            .current_dir(self.folder.join("debs"));
        for (name, version) in wanted.host.iter().chain(&wanted.guest) {
            command.arg(format!("{name}={version}"));
        }
        run(&mut command).context("fetch the packages").map(drop)
    }

    fn file(&self, name: &str, version: &str) -> anyhow::Result<PathBuf> {
        let bare = name.split(':').next().unwrap_or(name);
        let start = format!("{bare}_{}_", version.replace(':', "%3a"));
        for entry in fs::read_dir(self.folder.join("debs"))? {
            let path = entry?.path();
            if path
                .file_name()
                .and_then(|file| file.to_str())
                .is_some_and(|file| file.starts_with(&start))
            {
                return Ok(path);
            }
        }
        bail!("apt fetched no {name}={version}")
    }

    fn verify(&self, wanted: &Wanted) -> anyhow::Result<Vec<Package>> {
        wanted
            .host
            .iter()
            .chain(&wanted.guest)
            .map(|(name, version)| self.verify_one(name, version))
            .collect()
    }

    fn verify_one(&self, name: &str, version: &str) -> anyhow::Result<Package> {
        let index = self.show(&format!("{name}={version}"))?;
        let expected = field(&index, "SHA256")
            .with_context(|| format!("the index has no SHA256 of {name}"))?;
        let path = self.file(name, version)?;
        let sums = run(Command::new("sha256sum").arg("--binary").arg(&path))?;
        let found = sums
            .trim_start_matches('\\')
            .split_whitespace()
            .next()
            .unwrap_or_default();
        ensure!(
            found == expected,
            "{} has SHA-256 {found}, the signed index says {expected}",
            path.display()
        );
        Ok(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: found.to_owned(),
        })
    }

    fn unpack(&self, wanted: &Wanted, folder: &Path) -> anyhow::Result<()> {
        for (packages, sub) in [(&wanted.host, "host"), (&wanted.guest, "guest")] {
            let to = folder.join(sub);
            fs::create_dir_all(&to)?;
            for (name, version) in packages {
                run(Command::new("dpkg")
                    .arg("-x")
                    .arg(self.file(name, version)?)
                    .arg(&to))?;
            }
        }
        Ok(())
    }
}

fn debian_codename() -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim_matches('"').to_owned())
    };
    ensure!(
        value("ID=").as_deref() == Some("debian"),
        "this machine does not run Debian"
    );
    value("VERSION_CODENAME=").context("/etc/os-release has no VERSION_CODENAME")
}

/// The mirror of this machine, and the name of its release.
///
/// # Errors
/// When it does not run Debian, or apt knows no mirror.
pub fn machine_mirror() -> anyhow::Result<(String, String)> {
    let codename = debian_codename()?;
    let list = sources(&codename)?;
    let uri = list
        .lines()
        .filter_map(|line| line.split(' ').nth(2).zip(line.split(' ').nth(3)))
        .find(|(_, suite)| *suite == codename)
        .map(|(uri, _)| uri.to_owned());
    Ok((uri.context("apt knows no mirror of the release")?, codename))
}

/// The machine's own mirror, with the backports that carry a recent emulator.
fn sources(codename: &str) -> anyhow::Result<String> {
    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    ensure!(
        Path::new(KEYRING).is_file(),
        "there is no {KEYRING} to verify packages with"
    );
    let targets = run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI) $(CODENAME)",
    ]))
    .context("ask apt for the machine's mirror")?;
    let mut lines = Vec::new();
    let mut add = |uri: &str, suite: &str| {
        let line = format!("deb [signed-by={KEYRING}] {uri} {suite} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for target in targets.lines() {
        if let ["Debian", uri, suite] = target.split(' ').collect::<Vec<_>>().as_slice() {
            add(uri, suite);
            if *suite == codename {
                add(uri, &format!("{codename}-backports"));
            }
        }
    }
    ensure!(
        !lines.is_empty(),
        "apt knows no Debian mirror on this machine"
    );
    Ok(lines.concat())
}

fn configuration(folder: &Path, architecture: &str) -> String {
    let at = folder.display();
    format!(
        "Dir::State \"{at}\";\nDir::State::status \"{at}/dpkg/status\";\nDir::Cache \"{at}\";\n\
         Dir::Etc \"{at}/etc\";\nAPT::Architecture \"{architecture}\";\n\
         APT::Architectures {{\"{architecture}\"; \"arm64\";}};\nAPT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nDebug::NoLocking \"true\";\n"
    )
}

/// Installed packages without those of the emulator: an installed one would be left out of the fetch, and
/// its user-mode sister would be upgraded beside it.
fn without_qemu(status: &str) -> String {
    status
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim_start().starts_with("Package: qemu-"))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// `'http://...' name_1%3a2.0_amd64.deb 123 MD5Sum:...`
fn named_by_uri(line: &str) -> Option<(String, String)> {
    let file = line.split(' ').nth(1)?;
    let mut parts = file.split('_');
    let name = parts.next()?;
    let version = parts.next()?;
    Some((name.to_owned(), version.replace("%3a", ":")))
}

fn field<'a>(paragraph: &'a str, key: &str) -> Option<&'a str> {
    paragraph
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// `Depends: linux-image-6.1.0-50-arm64 (= 6.1.176-1)`
fn kernel_of(meta: &str) -> Option<(String, String)> {
    let first = field(meta, "Depends")?
        .split(',')
        .find(|word| word.trim().starts_with("linux-image-"))?;
    let (name, version) = first.trim().split_once(" (= ")?;
    Some((name.to_owned(), version.trim_end_matches(')').to_owned()))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} failed: {}",
            errors
                .lines()
                .find(|line| line.starts_with("E:"))
                .unwrap_or(errors.trim())
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_the_file_that_apt_would_fetch() {
        let line = "'http://mirror/q.deb' qemu-system-arm_1%3a10.0.2+ds-2~bpo12+1_amd64.deb 9788540 MD5Sum:00";
        let expected = (
            "qemu-system-arm".to_owned(),
            "1:10.0.2+ds-2~bpo12+1".to_owned(),
        );
        assert_eq!(named_by_uri(line), Some(expected));
        assert_eq!(named_by_uri(""), None);
    }

    #[test]
    fn the_kernel_is_what_the_meta_package_depends_on() {
        let meta = "Package: linux-image-arm64\nDepends: linux-image-6.1.0-50-arm64 (= 6.1.176-1)\nSize: 1\n";
        let expected = (
            "linux-image-6.1.0-50-arm64".to_owned(),
            "6.1.176-1".to_owned(),
        );
        assert_eq!(kernel_of(meta), Some(expected));
        assert_eq!(kernel_of("Package: x\nDepends: libc6\n"), None);
    }

    #[test]
    fn an_installed_emulator_does_not_hide_what_must_be_fetched() {
        let status = "Package: bash\nStatus: ok\n\nPackage: qemu-user-static\nStatus: ok\n\nPackage: zlib1g\n";
        assert_eq!(
            without_qemu(status),
            "Package: bash\nStatus: ok\n\nPackage: zlib1g\n"
        );
    }

    #[test]
    fn a_record_of_an_earlier_fetch_needs_no_network() {
        let folder = tempfile::tempdir().unwrap();
        let record = r#"{"kernel_release": "6.1.0-1-arm64", "packages": []}"#;
        fs::write(folder.path().join("packages.json"), record).unwrap();
        let Fetched::Ready(parts) = provide(folder.path()).unwrap() else {
            panic!("fetched")
        };
        assert!(parts.kernel().ends_with("guest/boot/vmlinuz-6.1.0-1-arm64"));
        fs::write(folder.path().join("packages.json"), "torn").unwrap();
        assert!(provide(folder.path()).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_missed() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-anywhere"));
    }
}
