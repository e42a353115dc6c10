//! A simulated disk: it loses what was not synced, as a real one may.
use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::Disk;
use super::memory::{copy_at, write_over};
use crate::forward::random::Random;

const SECTOR_LEN: usize = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes (and cuts, as `None`) since the last sync.
    pending: Vec<(u64, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
enum NameOp {
    Set(String, usize),
    Unset(String),
}

impl NameOp {
    fn folder(&self) -> &str {
        let (Self::Set(name, _) | Self::Unset(name)) = self;
        name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// What the disk should do wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Syncs fail while this is above zero; each failing one takes one off.
    pub(crate) failing_syncs: u32,
    /// Nothing can be written.
    pub(crate) read_only: bool,
    /// Not even a folder can be listed.
    pub(crate) gone: bool,
    /// Syncs say yes and do nothing: the mutant that a crash test must catch.
    pub(crate) lying_syncs: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    name_ops: Vec<NameOp>,
    faults: Faults,
    syncs: u64,
    /// Operations until the power goes: after them nothing has any effect.
    power_left: Option<u64>,
}

/// A handle; all clones see the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// From the n-th write, sync or name operation on, the disk does nothing any more.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.state().power_left = Some(operations);
    }

    pub(crate) fn power_is_back(&self) {
        self.state().power_left = None;
    }

    /// A disk with the same content, durable and not: a cloned card.
    pub(crate) fn image(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The power goes: of what was not synced, some sectors and names are kept, others lost or torn.
    pub(crate) fn crash(&self, random: &mut Random) {
        let mut state = self.state();
        state.power_left = None;
        let mut names = state.durable.clone();
        let mut lost_folders = Vec::new();
        for op in std::mem::take(&mut state.name_ops) {
            // A journal keeps the order inside a folder: after the first lost name, all are.
            if lost_folders.iter().any(|f| f == op.folder()) {
                continue;
            }
            if random.below(3) == 0 {
                lost_folders.push(op.folder().to_owned());
                continue;
            }
            match op {
                NameOp::Set(name, inode) => drop(names.insert(name, inode)),
                NameOp::Unset(name) => drop(names.remove(&name)),
            }
        }
        for inode in &mut state.inodes {
            inode.crash(random);
        }
        state.live = names.clone();
        state.durable = names;
    }

    /// Turns a bit at rest in one of the files whose name contains `part`; whether there was one.
    pub(crate) fn flip_bit(&self, part: &str, random: &mut Random) -> bool {
        let mut state = self.state();
        let wanted = |name: &&String| name.contains(part);
        let names: Vec<String> = state.live.keys().filter(wanted).cloned().collect();
        let Some(name) = names.get(random.below(names.len().max(1) as u64) as usize) else {
            return false;
        };
        let inode = state.live[name];
        let inode = &mut state.inodes[inode];
        if inode.live.is_empty() {
            return false;
        }
        let bit = random.below(inode.live.len() as u64 * 8);
        let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        inode.live[byte] ^= mask;
        if let Some(durable) = inode.durable.get_mut(byte) {
            *durable ^= mask;
        }
        true
    }

    /// Turns a bit of a byte at rest.
    pub(crate) fn damage(&self, name: &str, offset: u64) {
        let mut state = self.state();
        let inode = state.live[name];
        let inode = &mut state.inodes[inode];
        inode.live[offset as usize] ^= 0x10;
        if let Some(durable) = inode.durable.get_mut(offset as usize) {
            *durable ^= 0x10;
        }
    }

    /// Puts a file there, durably.
    pub(crate) fn plant(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        let inode = Inode {
            live: content.to_vec(),
            durable: content.to_vec(),
            pending: Vec::new(),
        };
        state.inodes.push(inode);
        let number = state.inodes.len() - 1;
        state.live.insert(name.to_owned(), number);
        state.durable.insert(name.to_owned(), number);
    }

    /// Takes a file away, durably.
    pub(crate) fn lose_file(&self, name: &str) {
        let mut state = self.state();
        state.live.remove(name);
        state.durable.remove(name);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().live.keys().cloned().collect()
    }

    fn write(&self) -> io::Result<Option<MutexGuard<'_, State>>> {
        let mut state = self.state();
        if state.faults.read_only || state.faults.gone {
            return Err(Error::from(ErrorKind::ReadOnlyFilesystem));
        }
        match &mut state.power_left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(Some(state))
    }
}

impl Inode {
    fn crash(&mut self, random: &mut Random) {
        let mut content = std::mem::take(&mut self.durable);
        for (offset, bytes) in self.pending.drain(..) {
            let Some(bytes) = bytes else {
                if random.below(2) == 0 {
                    content.truncate(offset as usize);
                }
                continue;
            };
            let mut at = offset as usize;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = SECTOR_LEN - at % SECTOR_LEN;
                let (sector, behind) = rest.split_at(room.min(rest.len()));
                match random.below(8) {
                    0..=3 => write_over(&mut content, at as u64, sector),
                    // Torn in the middle of the sector.
                    4 => write_over(&mut content, at as u64, &sector[..sector.len() / 2]),
                    5 => write_over(&mut content, at as u64, &vec![0xA5; sector.len()]),
                    _ => {}
                }
                at += sector.len();
                rest = behind;
            }
        }
        self.live = content.clone();
        self.durable = content;
    }
}

fn not_found() -> Error {
    Error::from(ErrorKind::NotFound)
}

impl Disk for SimDisk {
    fn prepare(&mut self) -> io::Result<()> {
        self.list("").map(drop)
    }

    fn list(&mut self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.faults.gone {
            return Err(Error::from(ErrorKind::PermissionDenied));
        }
        let in_folder = |name: &String| match name.rsplit_once('/') {
            Some((parent, leaf)) if parent == folder => Some(leaf.to_owned()),
            None if folder.is_empty() => Some(name.clone()),
            _ => None,
        };
        Ok(state.live.keys().filter_map(in_folder).collect())
    }

    fn len(&mut self, file: &str) -> io::Result<u64> {
        let state = self.state();
        let inode = *state.live.get(file).ok_or_else(not_found)?;
        Ok(state.inodes[inode].live.len() as u64)
    }

    fn read_at(&mut self, file: &str, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        let inode = *state.live.get(file).ok_or_else(not_found)?;
        Ok(copy_at(&state.inodes[inode].live, offset, out))
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        if !state.live.contains_key(file) {
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.live.insert(file.to_owned(), inode);
            state.name_ops.push(NameOp::Set(file.to_owned(), inode));
        }
        let inode = state.live[file];
        let inode = &mut state.inodes[inode];
        write_over(&mut inode.live, offset, bytes);
        inode.pending.push((offset, Some(bytes.to_vec())));
        Ok(())
    }

    fn truncate(&mut self, file: &str, len: u64) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        let inode = *state.live.get(file).ok_or_else(not_found)?;
        let inode = &mut state.inodes[inode];
        inode.live.truncate(len as usize);
        inode.pending.push((len, None));
        Ok(())
    }

    fn sync(&mut self, file: &str) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        state.syncs += 1;
        let inode = *state.live.get(file).ok_or_else(not_found)?;
        if state.faults.failing_syncs > 0 {
            state.faults.failing_syncs -= 1;
            // The pages are marked clean and never reach the medium.
            state.inodes[inode].pending.clear();
            return Err(Error::other("simulated sync failure"));
        }
        if !state.faults.lying_syncs {
            let inode = &mut state.inodes[inode];
            inode.pending.clear();
            inode.durable = inode.live.clone();
        }
        Ok(())
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        if state.faults.lying_syncs {
            return Ok(());
        }
        let (here, elsewhere) = std::mem::take(&mut state.name_ops)
            .into_iter()
            .partition(|op: &NameOp| op.folder() == folder);
        state.name_ops = elsewhere;
        let here: Vec<NameOp> = here;
        for op in here {
            match op {
                NameOp::Set(name, inode) => drop(state.durable.insert(name, inode)),
                NameOp::Unset(name) => drop(state.durable.remove(&name)),
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        let inode = state.live.remove(from).ok_or_else(not_found)?;
        state.live.insert(to.to_owned(), inode);
        state.name_ops.push(NameOp::Set(to.to_owned(), inode));
        state.name_ops.push(NameOp::Unset(from.to_owned()));
        Ok(())
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        let Some(mut state) = self.write()? else {
            return Ok(());
        };
        state.live.remove(file).ok_or_else(not_found)?;
        state.name_ops.push(NameOp::Unset(file.to_owned()));
        Ok(())
    }
}
