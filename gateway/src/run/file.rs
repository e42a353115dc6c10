//! A small file of the gateway beside the spool: the spool's folder is the spool's alone.
//!
//! Promises: it is replaced as a whole or not at all. Never: a file that a reader could meet half written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is read at the start and replaced now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// `DIR.suffix` beside `DIR`.
    pub(super) fn beside(spool: &Path, suffix: &str) -> Self {
        let mut name = spool.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(suffix);
        Self {
            path: spool.with_file_name(name),
        }
    }

    /// A file in the folder that this one is.
    pub(super) fn inside(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes; `None` when there is no such file.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut other = self.path.as_os_str().to_owned();
        other.push(".new");
        let mut writer = fs::File::create(&other)?;
        writer.write_all(bytes)?;
        writer.sync_all()?;
        fs::rename(other, &self.path)
    }
}
