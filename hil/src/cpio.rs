//! Writes an initramfs: a cpio archive in the `newc` form that the kernel unpacks.
//!
//! ```text
//! | "070701" | 13 numbers of 8 hex digits | name, NUL | pad to 4 | data | pad to 4 | ... | TRAILER!!! |
//! ```
//!
//! Promises: the same entries give the same bytes (owner root, time 0). Never: a file of the host beside
//! those that were handed in.

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// An archive that is being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder; its parents must stand before it.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, 2, (0, 0), &[]);
    }

    /// A file with its permissions.
    pub fn file(&mut self, name: &str, permissions: u32, data: &[u8]) {
        self.entry(name, FILE | permissions, 1, (0, 0), data);
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK | 0o777, 1, (0, 0), target.as_bytes());
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, DEVICE | 0o600, 1, (major, minor), &[]);
    }

    /// Ends the archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, 1, (0, 0), 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        self.header(
            name,
            mode,
            links,
            device,
            u32::try_from(data.len()).unwrap_or(u32::MAX),
        );
        self.bytes.extend(data);
        self.pad();
    }

    fn header(&mut self, name: &str, mode: u32, links: u32, device: (u32, u32), len: u32) {
        let name_len = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let inode = self.inode;
        let numbers = [
            inode, mode, 0, 0, links, 0, len, 0, 0, device.0, device.1, name_len, 0,
        ];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_header_a_name_and_its_bytes_each_padded_to_four() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"#!");
        let bytes = archive.finish();
        let head = b"070701\
            00000001\
            000081ed\
            00000000\
            00000000\
            00000001\
            00000000\
            00000002\
            00000000\
            00000000\
            00000000\
            00000000\
            00000005\
            00000000\
            init\0\0#!\0\0";
        assert_eq!(bytes[..head.len() - 1], head[..head.len() - 1]);
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn folders_links_and_devices_carry_their_kind_and_numbers() {
        let mut archive = Archive::new();
        archive.folder("dev");
        archive.device("dev/console", 5, 1);
        archive.link("bin/sh", "busybox");
        let text = String::from_utf8(archive.finish()).unwrap();
        assert!(text.starts_with("07070100000001000041ed"));
        assert!(text.contains("0000000000000005000000010000000c00000000dev/console"));
        assert!(text.contains("070701000000030000a1ff"));
        assert!(text.contains("bin/sh\0\0\0\0busybox\0"));
    }

    #[test]
    fn the_trailer_ends_the_archive() {
        let bytes = Archive::new().finish();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.len(), 124);
        assert!(text.starts_with("0707010000000000000000"));
        assert!(text.contains("0000000b00000000TRAILER!!!\0"));
    }
}
