//! The narrow door to the file system.
//!
//! Promises: everything the spool asks of a disk is one of these ten calls, so that a disk in RAM and a
//! simulated disk can stand in for the real one. This is the only file that names `std::fs`.
//!
//! Never: opens anything but regular files below its root, retries a failed sync, follows a link.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The folders under the root, one per lane, and the root itself as the empty name.
pub const FOLDERS: [&str; 3] = ["alert", "telemetry", "health"];

/// Files with relative names (`state`, `telemetry/0000000000000001.seg`).
pub trait Disk: Send + std::fmt::Debug {
    /// Makes the root and its folders, durably, and takes the root for this process alone.
    ///
    /// # Errors
    /// Whatever the disk says; `WouldBlock` when another process holds the root.
    fn prepare(&mut self) -> io::Result<()>;
    /// The names of the regular files in a folder.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&mut self, folder: &str) -> io::Result<Vec<String>>;
    /// The length of a file, bytes.
    ///
    /// # Errors
    /// Whatever the disk says; `NotFound` when there is none.
    fn len(&mut self, file: &str) -> io::Result<u64>;
    /// Reads from `offset` until `out` is full or the file ends; how many bytes.
    ///
    /// # Errors
    /// Whatever the disk says; `NotFound` when there is none.
    fn read_at(&mut self, file: &str, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes at `offset`; makes the file when there is none.
    ///
    /// # Errors
    /// Whatever the disk says; part of the bytes may have been written.
    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to `len` bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn truncate(&mut self, file: &str, len: u64) -> io::Result<()>;
    /// Makes the content of a file durable.
    ///
    /// # Errors
    /// Whatever the disk says; what was written since the last sync is then in doubt for ever.
    fn sync(&mut self, file: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_folder(&mut self, folder: &str) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&mut self, file: &str) -> io::Result<()>;
}

/// Open files that are written: one tail per lane and the state, with room for a change of tails.
const WRITERS_MAX: usize = 8;
/// Open files that are only read.
const READERS_MAX: usize = 4;

/// A folder of a real file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    lock: Option<File>,
    writers: VecDeque<(String, File)>,
    readers: VecDeque<(String, File)>,
}

impl RealDisk {
    /// The disk under this folder; nothing is touched before [`Disk::prepare`].
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            lock: None,
            writers: VecDeque::new(),
            readers: VecDeque::new(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.root.clone()
        } else {
            self.root.join(name)
        }
    }

    fn writer(&mut self, name: &str, create: bool) -> io::Result<&File> {
        if !self.writers.iter().any(|(open, _)| open == name) {
            let path = self.path(name);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(create)
                .truncate(false)
                .open(path)?;
            if self.writers.len() >= WRITERS_MAX {
                self.writers.pop_front();
            }
            self.writers.push_back((name.to_owned(), file));
        }
        find(&self.writers, name)
    }

    fn reader(&mut self, name: &str) -> io::Result<&File> {
        if self.writers.iter().any(|(open, _)| open == name) {
            return find(&self.writers, name);
        }
        if !self.readers.iter().any(|(open, _)| open == name) {
            let file = File::open(self.path(name))?;
            if self.readers.len() >= READERS_MAX {
                self.readers.pop_front();
            }
            self.readers.push_back((name.to_owned(), file));
        }
        find(&self.readers, name)
    }

    fn forget(&mut self, name: &str) {
        self.writers.retain(|(open, _)| open != name);
        self.readers.retain(|(open, _)| open != name);
    }
}

fn find<'a>(open: &'a VecDeque<(String, File)>, name: &str) -> io::Result<&'a File> {
    open.iter()
        .find(|(other, _)| other == name)
        .map(|(_, file)| file)
        .ok_or_else(|| Error::from(ErrorKind::NotFound))
}

impl Disk for RealDisk {
    fn prepare(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        for folder in FOLDERS {
            fs::create_dir_all(self.path(folder))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path("lock"))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                Error::new(ErrorKind::WouldBlock, "another process has this spool open")
            }
            fs::TryLockError::Error(e) => e,
        })?;
        self.sync_folder("")?;
        if let Some(parent) = self.root.parent().filter(|p| !p.as_os_str().is_empty()) {
            // The root's own name is durable only when its parent is. A parent that we may not
            // open was there before us.
            if let Ok(parent) = File::open(parent) {
                parent.sync_all()?;
            }
        }
        self.lock = Some(lock);
        Ok(())
    }

    fn list(&mut self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn len(&mut self, file: &str) -> io::Result<u64> {
        Ok(self.reader(file)?.metadata()?.len())
    }

    fn read_at(&mut self, file: &str, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let file = self.reader(file)?;
        let mut read = 0;
        while let Some(rest) = out.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writer(file, true)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, file: &str, len: u64) -> io::Result<()> {
        self.writer(file, false)?.set_len(len)
    }

    fn sync(&mut self, file: &str) -> io::Result<()> {
        self.writer(file, false)?.sync_all()
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.forget(file);
        fs::remove_file(self.path(file))
    }
}
