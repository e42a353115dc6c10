//! Passwords: argon2id, with the parameters of OWASP's first choice (19 MiB, two passes).

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::clock;

/// A hash for the users file.
///
/// # Errors
/// A phrase.
pub(crate) fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; 16];
    for half in salt.chunks_mut(8) {
        let random = clock::random_u64().map_err(|error| error.to_string())?;
        half.copy_from_slice(&random.to_le_bytes());
    }
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

/// Whether a text is a hash that can be compared with.
pub(super) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id")
}

/// Whether the password is right. A user who does not exist takes as long as one who does.
pub(super) fn verify(stored: Option<&str>, password: &str) -> bool {
    let nobody = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$\
                  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let Ok(hash) = PasswordHash::new(stored.unwrap_or(nobody)) else {
        return false;
    };
    let is_right = Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok();
    is_right && stored.is_some()
}
