//! Who this process is: epoch, boot, software.
//!
//! Promises: an epoch is 63 bits that no other process start has, on this card or on a copy of it: they
//! come from the kernel's generator after it is seeded, and are mixed with the board's serial number, which
//! a copied card does not carry. Never: a key from a clock, a counter or a file on the card.

use std::path::PathBuf;

use firmware_shared::id::Epoch;
use firmware_shared::message::SoftwareVersion;
use firmware_shared::time::BootId;

/// Why a process has no identity; none of them can be repaired by going on.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel gives no random bytes.
    #[error("no random bytes from the kernel: {0}")]
    Random(getrandom::Error),
    /// The kernel does not name its boot.
    #[error("{file}: {found:?} is not a boot id; expected are 32 hex digits with dashes")]
    BootId {
        /// The file.
        file: PathBuf,
        /// What stands there, or why it cannot be read.
        found: String,
    },
}

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Serial number of the board where the device tree has one; else what the installation calls itself.
const SERIAL_FILES: [&str; 2] = ["/proc/device-tree/serial-number", "/etc/machine-id"];

/// An epoch for this process start. Waits until the kernel's generator is seeded.
///
/// # Errors
/// [`IdentityError::Random`].
pub fn draw_epoch() -> Result<Epoch, IdentityError> {
    let serial = SERIAL_FILES
        .iter()
        .find_map(|file| std::fs::read(file).ok())
        .unwrap_or_default();
    Ok(Epoch::from_random(draw_u64()? ^ spread(&serial)))
}

/// 64 random bits.
///
/// # Errors
/// [`IdentityError::Random`].
pub fn draw_u64() -> Result<u64, IdentityError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(IdentityError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

/// FNV-1a: spreads a serial number over all bits. A constant by which a random number is changed leaves it
/// as random as it was.
fn spread(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The kernel's name for this boot.
///
/// # Errors
/// [`IdentityError::BootId`].
pub fn boot_id() -> Result<BootId, IdentityError> {
    let text = std::fs::read_to_string(BOOT_ID_FILE).map_err(|error| IdentityError::BootId {
        file: BOOT_ID_FILE.into(),
        found: error.to_string(),
    })?;
    parse_boot_id(text.trim()).ok_or_else(|| IdentityError::BootId {
        file: BOOT_ID_FILE.into(),
        found: text,
    })
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(BootId(number.to_be_bytes()))
}

/// The software, as births and batches name it.
#[must_use]
pub fn software() -> SoftwareVersion {
    let text = concat!("fleet-gateway ", env!("CARGO_PKG_VERSION"));
    SoftwareVersion::try_from(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_give_two_epochs() {
        assert_ne!(draw_epoch().unwrap(), draw_epoch().unwrap());
    }

    #[test]
    fn boards_with_the_same_random_bits_get_different_epochs() {
        assert_ne!(spread(b"10000000abcdef01"), spread(b"10000000abcdef02"));
    }

    #[test]
    fn the_kernels_boot_id_is_read_and_anything_else_is_refused() {
        let text = "8f3b1c9e-0123-4567-89ab-cdef01234567";
        assert_eq!(
            parse_boot_id(text).unwrap().to_string(),
            "8f3b1c9e0123456789abcdef01234567"
        );
        for bad in [
            "",
            "8f3b",
            "8f3b1c9e-0123-4567-89ab-cdef0123456g",
            "+8f3b1c9e0123456789abcdef0123456",
        ] {
            assert_eq!(parse_boot_id(bad), None, "{bad}");
        }
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }

    #[test]
    fn the_software_names_itself_with_its_version() {
        assert!(software().starts_with("fleet-gateway 0."), "{}", software());
    }
}
