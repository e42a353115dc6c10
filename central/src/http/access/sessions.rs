//! Sessions, in memory: a restart of the centre is a new login.

use std::collections::HashMap;

use crate::clock;

/// Nobody looked for so long: it is over.
const IDLE_MS_MAX: u64 = 12 * 3_600_000;
/// ... and in any case after a week.
const AGE_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Beyond it the one that was idle longest ends.
const SESSIONS_MAX: usize = 4_096;

/// Somebody who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) user: String,
    pub(super) csrf: String,
    began_ms: u64,
    used_ms: u64,
}

/// Sessions by their token.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<String, Session>);

impl Sessions {
    /// Begins a session: its token and its csrf.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub(super) fn begin(
        &mut self,
        user: &str,
        now_ms: u64,
    ) -> Result<(String, String), getrandom::Error> {
        if self.0.len() >= SESSIONS_MAX {
            self.0.retain(|_, session| session.is_alive(now_ms));
        }
        if self.0.len() >= SESSIONS_MAX {
            let idlest = self.0.iter().min_by_key(|(_, session)| session.used_ms);
            if let Some(token) = idlest.map(|(token, _)| token.clone()) {
                self.0.remove(&token);
            }
        }
        let (token, csrf) = (secret()?, secret()?);
        let session = Session {
            user: user.to_owned(),
            csrf: csrf.clone(),
            began_ms: now_ms,
            used_ms: now_ms,
        };
        self.0.insert(token.clone(), session);
        Ok((token, csrf))
    }

    /// The session of a token while it lasts.
    pub(super) fn find(&mut self, token: &str, now_ms: u64) -> Option<Session> {
        let session = self.0.get_mut(token)?;
        if !session.is_alive(now_ms) {
            self.0.remove(token);
            return None;
        }
        session.used_ms = now_ms;
        Some(session.clone())
    }

    pub(super) fn end(&mut self, token: &str) {
        self.0.remove(token);
    }
}

impl Session {
    fn is_alive(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms) < IDLE_MS_MAX
            && now_ms.saturating_sub(self.began_ms) < AGE_MS_MAX
    }
}

/// 256 random bits.
fn secret() -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(64);
    for _ in 0..4 {
        text.push_str(&format!("{:016x}", clock::random_u64()?));
    }
    Ok(text)
}
