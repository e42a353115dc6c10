//! The users file: TOML, one `[[user]]` each.
//!
//! Promises: what the file says counts at the next request, without a restart; a file that becomes unreadable
//! leaves what it said last and is complained of once. Never: a user without a role.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::{Role, password};
use crate::clock;

/// The file is looked at at most so often.
const LOOK_MS: u64 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    role: Role,
    /// Absent for a user of the proxy.
    password_hash: Option<String>,
}

#[derive(Debug, Clone)]
struct User {
    role: Role,
    password_hash: Option<String>,
}

/// The users.
#[derive(Debug)]
pub(super) struct Users {
    file: PathBuf,
    users: BTreeMap<String, User>,
    changed: Option<SystemTime>,
    looked_ms: u64,
}

/// Whether a file can be used.
///
/// # Errors
/// A phrase.
pub(crate) fn check(file: &Path) -> Result<(), String> {
    load(file).map(drop)
}

/// Whether somebody may be called so.
pub(crate) fn is_user_name(name: &str) -> bool {
    let is_allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    (1..=64).contains(&name.len()) && name.chars().all(is_allowed)
}

fn load(file: &Path) -> Result<BTreeMap<String, User>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let file: File = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    let mut users = BTreeMap::new();
    for entry in file.user {
        if !is_user_name(&entry.name) {
            return Err(format!(
                "name {:?}; allowed are 1 to 64 of a-z, A-Z, 0-9 and . _ - @ +",
                entry.name
            ));
        }
        if entry
            .password_hash
            .as_deref()
            .is_some_and(|hash| !password::is_hash(hash))
        {
            return Err(format!(
                "the password_hash of {} is not one of argon2id",
                entry.name
            ));
        }
        let user = User {
            role: entry.role,
            password_hash: entry.password_hash,
        };
        if users.insert(entry.name.clone(), user).is_some() {
            return Err(format!("{} is there twice", entry.name));
        }
    }
    match users.is_empty() {
        true => Err("it has no user".to_owned()),
        false => Ok(users),
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file)
        .and_then(|meta| meta.modified())
        .ok()
}

impl Users {
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        Ok(Self {
            file: file.to_owned(),
            changed: changed(file),
            users: load(file)?,
            looked_ms: clock::monotonic_ms(),
        })
    }

    fn look(&mut self) {
        let now_ms = clock::monotonic_ms();
        if now_ms.saturating_sub(self.looked_ms) < LOOK_MS {
            return;
        }
        self.looked_ms = now_ms;
        self.look_now();
    }

    pub(super) fn look_now(&mut self) {
        let changed = changed(&self.file);
        if changed == self.changed {
            return;
        }
        self.changed = changed;
        match load(&self.file) {
            Ok(users) => self.users = users,
            Err(why) => {
                let file = self.file.display();
                tracing::error!(%file, why, "the users file cannot be used; the users are as they were");
            }
        }
    }

    pub(super) fn role(&mut self, name: &str) -> Option<Role> {
        self.look();
        self.users.get(name).map(|user| user.role)
    }

    pub(super) fn password_hash(&mut self, name: &str) -> Option<String> {
        self.look();
        self.users.get(name)?.password_hash.clone()
    }
}
