//! The boot of a simulated world.
//!
//! Promises: each world that begins has an identifier of its own, drawn at random, and keeps it in
//! its truth file, so that a process that goes on with the world is in the same boot. Never: the
//! kernel's identifier, which all simulated vehicles of one machine would share.

use std::fmt;
use std::io;

use serde::Deserialize;

/// A random UUID (version 4), written as the kernel writes its boot identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SimBootId(
    /// Big-endian, as written.
    pub [u8; 16],
);

impl SimBootId {
    /// Draws one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for SimBootId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == 32)
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| format!("boot_id = {text} is not allowed: use a UUID"))
    }
}

impl fmt::Display for SimBootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_boots_differ_and_are_written_and_read_as_a_version_4_uuid() {
        let (one, two) = (SimBootId::draw().unwrap(), SimBootId::draw().unwrap());
        assert_ne!(one, two);
        let text = one.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(SimBootId::try_from(text), Ok(one));
        assert!(SimBootId::try_from("0".repeat(31)).is_err());
        assert!(SimBootId::try_from("+".repeat(32)).is_err());
    }
}
