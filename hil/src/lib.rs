//! The promises on an emulated ARM board and on a real Pi.
//!
//! Promises: a scenario that cannot run says `skipped` and why; it is never shown as passed. Never: a
//! default member of a test run.

use std::path::PathBuf;

/// What an emulated board needs from the machine, and the Debian package that brings it.
const NEEDED: [(&str, &str); 2] =
    [("qemu-system-aarch64", "qemu-system-arm"), ("mkfs.ext4", "e2fsprogs")];

/// The programs that are missing, with the package that brings each.
#[must_use]
pub fn missing() -> Vec<(&'static str, &'static str)> {
    NEEDED.into_iter().filter(|(program, _)| find(program).is_none()).collect()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_package() {
        assert!(find("no-such-program-anywhere").is_none());
        for (program, package) in missing() {
            assert!(find(program).is_none());
            assert!(!package.is_empty());
        }
    }
}
