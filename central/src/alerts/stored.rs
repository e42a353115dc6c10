//! The alerts of a database, oldest first.

use std::io::Write;
use std::path::Path;

use firmware_shared::alert::Alert;
use rusqlite::{Connection, OpenFlags};

use super::select::Selection;
use super::show;
use crate::sqlite::schema;

/// Prints the stored alerts that are selected, each as the device wrote it; late is what was received so
/// long after its time.
///
/// # Errors
/// When the file cannot be read, is not a fleet database, or nobody reads the output.
pub(crate) fn list(
    path: &Path,
    selection: &Selection,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    let found = schema::version(&connection)?;
    if found > schema::VERSION {
        return Err(schema::SchemaError::Later { found }.into());
    }
    let mut statement = connection
        .prepare("SELECT json, received_ms FROM alerts ORDER BY received_ms, device, epoch, seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (json, received_ms): (String, i64) = (row.get(0)?, row.get(1)?);
        let alert: Alert = serde_json::from_str(&json)?;
        if selection.takes(alert.device.as_str(), &alert.kind, alert.severity) {
            let alert = show::marked(alert, received_ms);
            writeln!(out, "{}", show::line(&alert, as_json))?;
        }
    }
    Ok(())
}
