//! What a test needs from the machine, and what becomes of it when that is missing.

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use tests::broker::Kind;

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

/// A test that needs a program of this machine.
pub(crate) fn program(
    name: &str,
    program: &'static str,
    test: fn(&Path) -> anyhow::Result<()>,
) -> Trial {
    need(
        name,
        &format!("{program} is not installed"),
        find(program),
        test,
    )
}

/// A test that needs a browser.
pub(crate) fn chromium(name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    match tests::browser::programs() {
        Some(_) => nothing(name, test),
        None => skip(name, "chromium is not installed"),
    }
}

/// A test that needs a PostgreSQL server; it gets the folder of its programs.
pub(crate) fn postgres(name: &str, test: fn(&Path) -> anyhow::Result<()>) -> Trial {
    need(
        name,
        "postgresql is not installed",
        postgres_programs(),
        test,
    )
}

/// What a test runs over: a broker and a database. `None` is the embedded broker, and SQLite.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers {
    pub(crate) broker: Option<(Kind, PathBuf)>,
    pub(crate) postgres: Option<PathBuf>,
}

/// Every broker with every database.
pub(crate) const COMBINATIONS: [(&str, Option<Kind>, bool); 6] = [
    ("embedded_and_sqlite", None, false),
    ("embedded_and_postgresql", None, true),
    ("mosquitto_and_sqlite", Some(Kind::Mosquitto), false),
    ("mosquitto_and_postgresql", Some(Kind::Mosquitto), true),
    ("nats_and_sqlite", Some(Kind::Nats), false),
    ("nats_and_postgresql", Some(Kind::Nats), true),
];

/// A test over each broker, with SQLite: what a device and its centre do may not depend on it.
pub(crate) fn each_broker(name: &str, test: fn(&Peers) -> anyhow::Result<()>) -> Vec<Trial> {
    vec![
        peers(name, None, false, test),
        peers(
            &format!("{name}_over_mosquitto"),
            Some(Kind::Mosquitto),
            false,
            test,
        ),
        peers(&format!("{name}_over_nats"), Some(Kind::Nats), false, test),
    ]
}

/// A test over a broker and a database.
pub(crate) fn peers(
    name: &str,
    broker: Option<Kind>,
    postgres: bool,
    test: impl FnOnce(&Peers) -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    let program = match broker {
        Some(Kind::Mosquitto) => "mosquitto",
        Some(Kind::Nats) => "nats-server",
        None => "",
    };
    let found = find(program);
    let peers = match (broker, found, postgres.then(postgres_programs)) {
        (Some(_), None, _) => Err(format!("{program} is not installed")),
        (_, _, Some(None)) => Err("postgresql is not installed".to_owned()),
        (kind, found, programs) => Ok(Peers {
            broker: kind.zip(found),
            postgres: programs.flatten(),
        }),
    };
    match peers {
        Ok(peers) => Trial::test(name, move || test(&peers).map_err(failed)),
        Err(missing) => skip(name, &missing),
    }
}

/// Where Mosquitto is.
pub(crate) fn mosquitto_program() -> Option<PathBuf> {
    find("mosquitto")
}

/// The folder with `postgres` and `initdb`. Debian keeps them out of the path.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = versions
        .flatten()
        .map(|version| version.path().join("bin/postgres"));
    let found = debian.chain(find("postgres")).find(|file| file.is_file())?;
    found.parent().map(Path::to_owned)
}

fn need(
    name: &str,
    otherwise: &str,
    found: Option<PathBuf>,
    test: fn(&Path) -> anyhow::Result<()>,
) -> Trial {
    match found {
        Some(path) => Trial::test(name, move || test(&path).map_err(failed)),
        None => skip(name, otherwise),
    }
}

fn skip(name: &str, missing: &str) -> Trial {
    let skipped = format!("skipped: {missing}");
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        return Trial::test(name, move || Err(Failed::from(skipped)));
    }
    Trial::test(name, || Ok(()))
        .with_kind(skipped)
        .with_ignored_flag(true)
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
    (!program.is_empty()).then_some(())?;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
