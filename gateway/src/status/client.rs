//! Asks a running gateway.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("{path}: no gateway answers here: {source}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody listens, but the answer is not one.
    #[error("{path}: the gateway gave no complete answer: {reason}")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Twice as long as the gateway takes to give up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the gateway at a socket says about itself.
///
/// # Errors
/// [`AskError`].
pub fn ask(path: &Path) -> Result<serde_json::Value, AskError> {
    let unreachable = |source| AskError::Unreachable {
        path: path.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(unreachable)?;
    let mut text = String::new();
    let refuse = |reason: String| AskError::Answer {
        path: path.to_owned(),
        reason,
    };
    stream
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}
