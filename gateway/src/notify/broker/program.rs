//! Where the broker's program is.

use std::path::{Path, PathBuf};

use crate::config::LocalBrokerConfig;

const NAME: &str = "fleet-gateway-broker";

/// The broker's program is not where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "local_broker.listen is set, but the broker's program is missing: there is no {}",
    places(.0)
)]
pub struct NoProgram(Vec<PathBuf>);

fn places(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    places.join(" and no ")
}

/// The configured program, else the one beside our own, else the one in `libexec` of the same installation.
///
/// # Errors
/// When it is not there.
pub fn find_program(config: &LocalBrokerConfig) -> Result<PathBuf, NoProgram> {
    if let Some(program) = &config.program {
        return first(vec![program.clone()]);
    }
    // Linux says where we are, also after an upgrade has taken our file away.
    let own = std::env::current_exe().unwrap_or_default();
    first(beside(&own))
}

fn beside(own: &Path) -> Vec<PathBuf> {
    let folder = own.parent().unwrap_or(Path::new("/usr/bin"));
    let installation = folder.parent().unwrap_or(Path::new("/"));
    vec![folder.join(NAME), installation.join("libexec").join(NAME)]
}

fn first(places: Vec<PathBuf>) -> Result<PathBuf, NoProgram> {
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => Err(NoProgram(places)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_beside_our_own_or_in_libexec() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("bin/fleet-gateway (deleted)");
        let [beside_us, libexec] =
            ["bin", "libexec"].map(|name| folder.path().join(name).join(NAME));
        let error = first(beside(&own)).unwrap_err().to_string();
        for place in [&beside_us, &libexec] {
            assert!(error.contains(&place.display().to_string()), "{error}");
        }
        for place in [libexec, beside_us] {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, "").unwrap();
            assert_eq!(first(beside(&own)), Ok(place));
        }
    }
}
