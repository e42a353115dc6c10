//! What a test needs from the machine, and what becomes of it when that is missing.

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

/// A test that needs nothing but the repository.
pub(crate) fn nothing(name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    Trial::test(name, move || test().map_err(failed))
}

/// A test that needs recorded logs.
pub(crate) fn recorded_data(name: &str, test: fn(&Path) -> anyhow::Result<()>) -> Trial {
    need(name, "no recorded data", data_folder(), test)
}

/// A test that needs a Mosquitto broker.
pub(crate) fn mosquitto(name: &str, test: fn(&Path) -> anyhow::Result<()>) -> Trial {
    need(name, "mosquitto is not installed", find("mosquitto"), test)
}

fn need(
    name: &str,
    otherwise: &str,
    found: Option<PathBuf>,
    test: fn(&Path) -> anyhow::Result<()>,
) -> Trial {
    let skipped = format!("skipped: {otherwise}");
    match found {
        Some(path) => Trial::test(name, move || test(&path).map_err(failed)),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            Trial::test(name, move || Err(Failed::from(skipped)))
        }
        None => Trial::test(name, || Ok(()))
            .with_kind(skipped)
            .with_ignored_flag(true),
    }
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

fn data_folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FLEET_TEST_DATA").map_or_else(beside, PathBuf::from);
    folder.join("gnss").is_dir().then_some(folder)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
