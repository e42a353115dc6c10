//! What is wrong with a configuration, in one sentence.

use std::path::PathBuf;

/// A configuration that must be changed by a person before the gateway can start. Every variant names the
/// file, the key, the value found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("{file}: cannot be read ({reason}); allowed is a readable TOML file")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Text that is not TOML.
    #[error("{file}: line {line} is not TOML ({reason}); allowed are lines such as key = value")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// A key that nobody reads.
    #[error("{file}: {key} = {value} is not a known key; allowed are {allowed}")]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// With its path.
        key: String,
        /// As it stands in the file.
        value: String,
        /// The keys of this section.
        allowed: String,
    },
    /// A key without which there is no start.
    #[error("{file}: {key} is missing; allowed is {allowed}")]
    Missing {
        /// The file.
        file: PathBuf,
        /// With its path.
        key: String,
        /// What should stand there.
        allowed: String,
    },
    /// A value of the wrong type, out of its range, or in conflict with another one.
    #[error("{file}: {key} = {value} is not allowed; allowed is {allowed}")]
    Value {
        /// The file.
        file: PathBuf,
        /// With its path.
        key: String,
        /// As it stands in the file.
        value: String,
        /// What should stand there.
        allowed: String,
    },
}
