//! Backups of a SQLite database or of the desk's file, and the way back.
//!
//! Promises: a backup is one consistent moment of a file that may be in use; a restore replaces a file that nobody
//! uses, whole or not at all, by one of the same kind and of a known version. Never: a backup written over something,
//! a restore under a running centre.
//!
//! After a restore the centre knows less than it acknowledged. Devices hear that in the answer to their next birth,
//! and send again what they still hold.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

use crate::desk;
use crate::sqlite::{self, schema};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Readings,
    Desk,
}

fn open(path: &Path) -> anyhow::Result<(Connection, Kind)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let kind = match schema::version(&connection) {
        Ok(0) => anyhow::bail!("{} is not a fleet database", path.display()),
        Ok(found) if found > schema::VERSION => {
            return Err(schema::SchemaError::Later { found })
                .with_context(|| format!("cannot use {}", path.display()));
        }
        Ok(_) => Kind::Readings,
        Err(schema::SchemaError::Foreign(_)) => {
            desk::check_file(&connection, path)?;
            Kind::Desk
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok((connection, kind))
}

/// Writes a copy.
///
/// # Errors
/// When the database is none, or the copy is there already or cannot be written.
pub(crate) fn backup(db: &Path, to: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!to.exists(), "{} is there already", to.display());
    let text = to.to_str().context("the name of the backup is not text")?;
    let (connection, _) = open(db)?;
    connection
        .execute("VACUUM INTO ?1", [text])
        .with_context(|| format!("cannot write {}", to.display()))?;
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}

/// Puts a copy in the place of the database or of the desk's file.
///
/// # Errors
/// When the copy is neither, or not what is there now, or a centre uses the file.
pub(crate) fn restore(db: &Path, from: &Path) -> anyhow::Result<()> {
    let (_, kind) = open(from)?;
    let _lock = sqlite::lock(db)?;
    // What is there may be damaged: then there is nothing to compare.
    if let Ok((_, is)) = open(db) {
        anyhow::ensure!(
            is == kind,
            "{} holds what {} does not: {is:?}, not {kind:?}",
            db.display(),
            from.display()
        );
    }
    let fresh = beside(db, ".restoring");
    std::fs::copy(from, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    std::fs::File::open(&fresh)?.sync_all()?;
    // The log of the database that goes would be played into the one that comes.
    for end in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(db, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    std::fs::rename(&fresh, db)?;
    let folder = db.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn beside(db: &Path, end: &str) -> std::path::PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(end);
    name.into()
}
