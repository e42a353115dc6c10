//! Backups of a SQLite database, and the way back.
//!
//! Promises: a backup is one consistent moment of a database that may be in use; a restore replaces a database that
//! nobody uses, whole or not at all, by a file that is a fleet database of a known version. Never: a backup written
//! over something, a restore under a running ingest.
//!
//! After a restore the centre knows less than it acknowledged. Devices hear that in the answer to their next birth,
//! and send again what they still hold.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::{self, schema};

fn open(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let found = schema::version(&connection)?;
    anyhow::ensure!(found > 0, "{} is not a fleet database", path.display());
    anyhow::ensure!(
        found <= schema::VERSION,
        schema::SchemaError::Later { found }
    );
    Ok(connection)
}

/// Writes a copy.
///
/// # Errors
/// When the database is none, or the copy is there already or cannot be written.
pub(crate) fn backup(db: &Path, to: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!to.exists(), "{} is there already", to.display());
    let text = to.to_str().context("the name of the backup is not text")?;
    open(db)?
        .execute("VACUUM INTO ?1", [text])
        .with_context(|| format!("cannot write {}", to.display()))?;
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}

/// Puts a copy in the place of the database.
///
/// # Errors
/// When the copy is no fleet database, or an ingest uses the database.
pub(crate) fn restore(db: &Path, from: &Path) -> anyhow::Result<()> {
    drop(open(from)?);
    let _lock = sqlite::lock(db)?;
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
