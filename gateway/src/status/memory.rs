//! How much memory the process holds.

/// Resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// At the moment, bytes.
    pub rss_bytes: u64,
    /// At most since the start, bytes.
    pub vm_hwm_bytes: u64,
}

/// What the kernel says; zeros when it says nothing.
#[must_use]
pub fn read() -> Memory {
    std::fs::read_to_string("/proc/self/status")
        .map(|text| parse(&text))
        .unwrap_or_default()
}

fn parse(text: &str) -> Memory {
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or_default().saturating_mul(1024)
    };
    Memory {
        rss_bytes: bytes("VmRSS:"),
        vm_hwm_bytes: bytes("VmHWM:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        let text = "Name:\tx\nVmHWM:\t    6100 kB\nVmRSS:\t    6004 kB\n";
        let expected = Memory {
            rss_bytes: 6004 * 1024,
            vm_hwm_bytes: 6100 * 1024,
        };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("nonsense"), Memory::default());
        assert!(read().rss_bytes > 100_000);
    }
}
