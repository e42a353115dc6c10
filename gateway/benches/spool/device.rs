//! A loop-mounted ext4 whose traffic the kernel counts.
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes, writes and flushes that reached the device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) flushes: u64,
}

pub(crate) struct LoopDisk {
    device: String,
    pub(crate) folder: PathBuf,
    image: PathBuf,
}

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

impl LoopDisk {
    /// `None` when this machine or this user cannot mount one.
    pub(crate) fn new(work: &Path) -> Option<Self> {
        let image = work.join("disk.img");
        let folder = work.join("disk");
        std::fs::create_dir_all(&folder).ok()?;
        std::fs::File::create(&image)
            .ok()?
            .set_len(512 << 20)
            .ok()?;
        run(
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                image.to_str()?,
            ],
        )?;
        let device = run("losetup", &["--find", "--show", image.to_str()?])?;
        let disk = Self {
            device,
            folder,
            image,
        };
        let folder = disk.folder.to_str()?;
        run("mount", &["-o", "noatime", &disk.device, folder])?;
        Some(disk)
    }

    /// What the counters say; the file system is written back first when `is_settled`.
    pub(crate) fn traffic(&self, is_settled: bool) -> Traffic {
        if is_settled {
            run("sync", &["-f", self.folder.to_str().unwrap()]);
        }
        let name = self.device.trim_start_matches("/dev/");
        let text = std::fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        Traffic {
            bytes: numbers[6] * 512,
            flushes: numbers.get(15).copied().unwrap_or(0),
        }
    }

    /// What some work sends to the device.
    pub(crate) fn during(&self, work: impl FnOnce()) -> Traffic {
        let before = self.traffic(true);
        work();
        let after = self.traffic(false);
        Traffic {
            bytes: after.bytes - before.bytes,
            flushes: after.flushes - before.flushes,
        }
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.to_str() {
            run("umount", &[folder]);
        }
        run("losetup", &["--detach", &self.device]);
        std::fs::remove_file(&self.image).ok();
    }
}
