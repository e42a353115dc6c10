//! The narrow door to the file system.
//!
//! Promises: everything the spool asks of a disk is one of these calls, so that a simulated disk can stand in
//! for the real one. This is the only file that names `std::fs`.
//!
//! Never: opens anything but regular files in its root and the folders there, retries a failed sync, follows
//! a link to a file, waits at a pipe that has the name of a file, deletes what is no file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// What the spool is doing with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Frames that were accepted.
    Append,
    /// Another segment for a lane: created, or used again.
    Recycle,
    /// The oldest segment makes room.
    Eviction,
    /// What is acknowledged.
    Cursor,
    /// A process start.
    Epoch,
    /// What is lost.
    Ledger,
    /// Acknowledged frames for a restored centre, and what such a centre asks for.
    Rewind,
}

impl Site {
    /// Every site.
    pub const ALL: [Self; 7] = [
        Self::Append,
        Self::Recycle,
        Self::Eviction,
        Self::Cursor,
        Self::Epoch,
        Self::Ledger,
        Self::Rewind,
    ];

    /// The name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Recycle => "recycle",
            Self::Eviction => "eviction",
            Self::Cursor => "cursor",
            Self::Epoch => "epoch",
            Self::Ledger => "ledger",
            Self::Rewind => "rewind",
        }
    }
}

/// Takes the index of a file and how it begins.
pub type See<'a> = &'a (dyn Fn(usize, io::Result<&[u8]>) + Sync);

/// Files with relative names (`state`, `log/00000001.seg`).
pub trait Disk: Send + std::fmt::Debug {
    /// Says what the calls that follow are for.
    fn enter(&mut self, _site: Site) {}
    /// Makes the root, durably, and takes it for this process alone.
    ///
    /// # Errors
    /// Whatever the disk says; `WouldBlock` when another process holds the root.
    fn prepare(&mut self) -> io::Result<()>;
    /// The names of the folders in the root.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn folders(&mut self) -> io::Result<Vec<String>>;
    /// Makes a folder in the root, durably, if there is none.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn make_folder(&mut self, folder: &str) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove_folder(&mut self, folder: &str) -> io::Result<()>;
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
    /// Shows the first `len` bytes of each of many files, or what there is of them, with the index of the file;
    /// from several threads, in any order.
    fn read_beginnings(&mut self, files: &[String], len: usize, see: See<'_>) {
        let mut bytes = vec![0; len];
        for (index, file) in files.iter().enumerate() {
            match self.read_at(file, 0, &mut bytes) {
                Ok(read) => see(index, Ok(bytes.get(..read).unwrap_or_default())),
                Err(error) => see(index, Err(error)),
            }
        }
    }
    /// Makes a file of `len` zeros that takes its room at once, durable but for its name; a file that has
    /// the name is made anew.
    ///
    /// # Errors
    /// Whatever the disk says; part of the file may be there.
    fn create(&mut self, file: &str, len: u64) -> io::Result<()>;
    /// Writes all bytes at `offset`; makes the file when there is none.
    ///
    /// # Errors
    /// Whatever the disk says; part of the bytes may have been written.
    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
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

/// Open files that are written: one tail per lane and the two slots, with room for a change of tails.
const WRITERS_MAX: usize = 8;
/// Open files that are only read.
const READERS_MAX: usize = 4;
/// Threads that read the beginnings of files: a start opens a thousand of them for every 4 GiB of backlog.
const READ_THREADS_MAX: usize = 4;
/// Fewer files are not worth a thread.
const READ_SHARE_MIN: usize = 32;
/// How much of a created file is written at once.
const ZEROS_LEN: usize = 256 * 1024;

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
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(create);
            let file = open_regular(&self.path(name), &mut options)?;
            if self.writers.len() >= WRITERS_MAX {
                self.writers.pop_front();
            }
            self.readers.retain(|(open, _)| open != name);
            self.writers.push_back((name.to_owned(), file));
        }
        find(&self.writers, name)
    }

    fn reader(&mut self, name: &str) -> io::Result<&File> {
        if self.writers.iter().any(|(open, _)| open == name) {
            return find(&self.writers, name);
        }
        if !self.readers.iter().any(|(open, _)| open == name) {
            let file = open_regular(&self.path(name), OpenOptions::new().read(true))?;
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

    fn names(
        &self,
        folder: &str,
        is_wanted: impl Fn(&fs::DirEntry) -> bool,
    ) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            if let (true, Ok(name)) = (is_wanted(&entry), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Frees a name that is not that of a file or folder of ours: people keep what they put there.
    fn move_aside(&mut self, name: &str) -> io::Result<()> {
        for count in 0..ASIDE_MAX {
            let aside = self.path(&format!("{name}.aside-{count}"));
            if fs::symlink_metadata(&aside).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                tracing::warn!(%name, aside = %aside.display(), "what had a name of the spool is moved aside");
                return fs::rename(self.path(name), aside);
            }
        }
        Err(Error::from(ErrorKind::AlreadyExists))
    }
}

/// Names for what is moved aside.
const ASIDE_MAX: u32 = 100;

/// Opens a file; what is none, or a link to one, is an error at once.
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Without the second flag an open waits until somebody opens the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "it is not a regular file",
    ))
}

/// Reads the first bytes of one of a thousand files: without asking what it is. What cannot be read at an offset is
/// an error here, too, and the listing leaves out all but regular files.
fn beginning<'a>(root: &File, name: &str, bytes: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::openat(root, name, flags, Mode::empty())?);
    let read = file.read_at(bytes, 0)?;
    Ok(bytes.get(..read).unwrap_or_default())
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
        let is_new = !self.root.exists();
        fs::create_dir_all(&self.root)?;
        // The folder itself, not a file in it: a read-only disk can still be read and held.
        let lock = File::open(&self.root)?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                Error::new(ErrorKind::WouldBlock, "another process has this spool open")
            }
            fs::TryLockError::Error(e) => e,
        })?;
        match lock.sync_all() {
            Err(error) if is_new => return Err(error),
            Err(error) => tracing::warn!(%error, "the root of the spool cannot be synced"),
            Ok(()) => {}
        }
        if let Some(parent) = self.root.parent().filter(|p| !p.as_os_str().is_empty()) {
            // The root's own name is durable only when its parent is. A parent that we may not
            // open was there before us.
            match File::open(parent).map(|parent| parent.sync_all()) {
                Ok(Err(error)) if is_new => return Err(error),
                _ => {}
            }
        }
        self.lock = Some(lock);
        Ok(())
    }

    fn folders(&mut self) -> io::Result<Vec<String>> {
        self.names("", |entry| entry.path().is_dir())
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if path.is_dir() {
            return Ok(());
        }
        if fs::symlink_metadata(&path).is_ok() {
            self.move_aside(folder)?;
        }
        fs::create_dir(path)?;
        self.sync_folder("")
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        fs::remove_dir(self.path(folder))
    }

    fn list(&mut self, folder: &str) -> io::Result<Vec<String>> {
        self.names(folder, |entry| {
            entry.file_type().is_ok_and(|kind| kind.is_file())
        })
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

    fn read_beginnings(&mut self, files: &[String], len: usize, see: See<'_>) {
        let root = match File::open(&self.root) {
            Ok(root) => root,
            Err(error) => {
                let again = || Error::new(error.kind(), error.to_string());
                return (0..files.len()).for_each(|index| see(index, Err(again())));
            }
        };
        let threads =
            std::thread::available_parallelism().map_or(1, |n| n.get().min(READ_THREADS_MAX));
        let share = files.len().div_ceil(threads).max(READ_SHARE_MIN);
        let read_share = |(first, share): (usize, &[String])| {
            let mut bytes = vec![0; len];
            for (index, file) in (first..).zip(share) {
                see(index, beginning(&root, file, &mut bytes));
            }
        };
        let mut shares = (0..).step_by(share).zip(files.chunks(share));
        let mine = shares.next();
        std::thread::scope(|scope| {
            for other in shares {
                scope.spawn(move || read_share(other));
            }
            mine.into_iter().for_each(read_share);
        });
    }

    fn create(&mut self, file: &str, len: u64) -> io::Result<()> {
        self.forget(file);
        match fs::remove_file(self.path(file)) {
            Err(e) if e.kind() == ErrorKind::IsADirectory => self.move_aside(file)?,
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // Written and not only reserved: a first write into reserved room costs the journal, too.
        // A small one by pages: a page cache that holds it in one piece would write it in one piece.
        let step = if len <= ZEROS_LEN as u64 {
            4096
        } else {
            ZEROS_LEN
        };
        let zeros = vec![0; step];
        let made = self.writer(file, true)?;
        let mut at = 0;
        while at < len {
            let rest = usize::try_from(len - at).map_or(step, |rest| rest.min(step));
            made.write_all_at(zeros.get(..rest).unwrap_or_default(), at)?;
            at += rest as u64;
        }
        made.sync_all()
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writer(file, true)?.write_all_at(bytes, offset)
    }

    fn sync(&mut self, file: &str) -> io::Result<()> {
        // Times of a file are not worth a commit of the journal.
        self.writer(file, false)?.sync_data()
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
