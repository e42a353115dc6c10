//! A simulated disk: it loses, tears, reorders and damages what was not synced, as a real one may.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, Site};
use crate::forward::random::Random;

const SECTOR_LEN: usize = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
    /// A sync failed: what is read may not be what is on the medium.
    is_doubtful: bool,
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
    /// Writes fail after half of their bytes; each failing one takes one off.
    pub(crate) short_writes: u32,
    /// Nothing can be written.
    pub(crate) read_only: bool,
    /// Not even a folder can be listed.
    pub(crate) gone: bool,
    /// Syncs say yes and do nothing: the mutant that a crash test must catch.
    pub(crate) lying_syncs: bool,
    /// Most bytes of all files together.
    pub(crate) room: Option<usize>,
}

/// What a cut does to what was on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blast {
    /// A unit of so many bytes around an interrupted write may be garbage; 0 for none.
    pub(crate) unit: usize,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    name_ops: Vec<NameOp>,
    faults: Faults,
    syncs: u64,
    operations: u64,
    site: Option<Site>,
    /// The site at which the power goes, and after how many operations there; any site without one.
    power: Option<(Option<Site>, u64)>,
    /// Where the power went: after it nothing has any effect.
    died_at: Option<Option<Site>>,
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

    /// Writes, syncs and name operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// From the n-th write, sync or name operation on, the disk does nothing any more.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.state().power = Some((None, operations));
    }

    /// The same, with only the operations of one site counted.
    pub(crate) fn cut_power_at(&self, site: Site, operations: u64) {
        self.state().power = Some((Some(site), operations));
    }

    /// Where the power went, if it did.
    pub(crate) fn died_at(&self) -> Option<Option<Site>> {
        self.state().died_at
    }

    pub(crate) fn power_is_back(&self) {
        let mut state = self.state();
        state.power = None;
        state.died_at = None;
    }

    /// A disk with the same content, durable and not: a cloned card.
    pub(crate) fn image(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The power goes: of what was not synced, some sectors and names are kept, others lost or torn.
    pub(crate) fn crash(&self, random: &mut Random) {
        self.crash_with(random, Blast { unit: 0 });
    }

    pub(crate) fn crash_with(&self, random: &mut Random, blast: Blast) {
        let mut state = self.state();
        state.power = None;
        state.died_at = None;
        let mut names = std::mem::take(&mut state.durable);
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
            if !inode.pending.is_empty() {
                inode.crash(random, blast);
            } else if inode.is_doubtful {
                // The page cache is gone, too.
                inode.live.clone_from(&inode.durable);
            }
            inode.is_doubtful = false;
        }
        state.live = names.clone();
        state.durable = names;
    }

    /// Turns a bit at rest in one of the files whose name contains `part`; whether there was one.
    pub(crate) fn flip_bit(&self, part: &str, random: &mut Random) -> bool {
        let mut state = self.state();
        let Some(inode) = state.some_file(part, random) else {
            return false;
        };
        let inode = &mut state.inodes[inode];
        if inode.live.is_empty() {
            return false;
        }
        let bit = random.below(inode.live.len() as u64 * 8);
        let (mut byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        if random.below(2) == 0 {
            // Headers are few and matter most.
            byte = byte / SECTOR_LEN * SECTOR_LEN + byte % 64;
            byte = byte.min(inode.live.len() - 1);
        }
        inode.live[byte] ^= mask;
        if let Some(durable) = inode.durable.get_mut(byte) {
            *durable ^= mask;
        }
        true
    }

    /// Does to one of the files what people and bad cards do.
    pub(crate) fn maul(&self, random: &mut Random) {
        let mut state = self.state();
        let Some(inode) = state.some_file("", random) else {
            return;
        };
        let name = state.live.iter().find(|(_, i)| **i == inode).unwrap().0;
        let name = name.clone();
        let len = state.inodes[inode].live.len();
        let new = match random.below(5) {
            0 => {
                state.live.remove(&name);
                state.durable.remove(&name);
                return;
            }
            1 => Vec::new(),
            2 => vec![0; len],
            3 => (0..len).map(|_| random.next_u64() as u8).collect(),
            _ => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let copy = format!("{folder}/{:08x}.seg", 1 + random.below(40));
                let content = state.inodes[inode].live.clone();
                drop(state);
                return self.plant(&copy, &content);
            }
        };
        state.inodes[inode] = Inode {
            live: new.clone(),
            durable: new,
            ..Inode::default()
        };
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
            ..Inode::default()
        };
        if let Some((folder, _)) = name.rsplit_once('/') {
            state.folders.insert(folder.to_owned());
        }
        state.inodes.push(inode);
        let number = state.inodes.len() - 1;
        state.live.insert(name.to_owned(), number);
        state.durable.insert(name.to_owned(), number);
    }

    /// The content of a file.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.live[name]].live.clone()
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

    /// Everything that can be seen, to compare runs.
    pub(crate) fn fingerprint(&self) -> u64 {
        let state = self.state();
        let mut sum = 0xcbf2_9ce4_8422_2325_u64;
        for (name, inode) in &state.live {
            for byte in name
                .bytes()
                .chain(state.inodes[*inode].live.iter().copied())
            {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        sum
    }

    /// The state when the operation takes effect; `None` when the power is gone.
    fn change(&self) -> io::Result<Option<MutexGuard<'_, State>>> {
        let mut state = self.state();
        state.operations += 1;
        if state.died_at.is_some() {
            return Ok(None);
        }
        let site = state.site;
        if let Some((at, left)) = &mut state.power
            && (at.is_none() || *at == site)
        {
            if *left == 0 {
                state.died_at = Some(site);
                return Ok(None);
            }
            *left -= 1;
        }
        if state.faults.read_only || state.faults.gone {
            return Err(Error::from(ErrorKind::ReadOnlyFilesystem));
        }
        Ok(Some(state))
    }
}

impl State {
    fn used(&self) -> usize {
        let files = self.live.values();
        files.map(|inode| self.inodes[*inode].live.len()).sum()
    }

    fn some_file(&self, part: &str, random: &mut Random) -> Option<usize> {
        let wanted = |(name, _): &(&String, &usize)| name.contains(part);
        let files: Vec<usize> = self.live.iter().filter(wanted).map(|(_, i)| *i).collect();
        let at = random.below(files.len().max(1) as u64) as usize;
        files.get(at).copied()
    }

    fn has_room(&self, more: usize) -> bool {
        self.faults
            .room
            .is_none_or(|room| self.used() + more <= room)
    }
}

fn write_over(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Inode {
    fn sync(&mut self) {
        for (offset, bytes) in self.pending.drain(..) {
            write_over(&mut self.durable, offset, &bytes);
        }
    }

    /// Some sectors reached the medium; the pages of the others are marked clean and never will.
    fn fail_sync(&mut self, random: &mut Random) {
        self.is_doubtful = true;
        let mood = random.below(3);
        for (offset, bytes) in self.pending.drain(..) {
            for (count, sector) in bytes.chunks(SECTOR_LEN).enumerate() {
                if mood == 0 || mood == 1 && random.below(2) == 0 {
                    write_over(&mut self.durable, offset + count * SECTOR_LEN, sector);
                }
            }
        }
    }

    fn crash(&mut self, random: &mut Random, blast: Blast) {
        let mut content = std::mem::take(&mut self.durable);
        let pending = std::mem::take(&mut self.pending);
        // Sometimes all of it, or none of it, had reached the medium.
        let mood = random.below(4);
        for (offset, bytes) in &pending {
            let mut at = *offset;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = SECTOR_LEN - at % SECTOR_LEN;
                let (sector, behind) = rest.split_at(room.min(rest.len()));
                match (mood, random.below(8)) {
                    (0, _) | (2.., 0..=2) => write_over(&mut content, at, sector),
                    // Torn inside the sector.
                    (2.., 3 | 4) => {
                        let kept = random.below(sector.len() as u64) as usize;
                        write_over(&mut content, at, &sector[..kept]);
                    }
                    (2.., 5) => write_over(&mut content, at, &vec![0xA5; sector.len()]),
                    _ => {}
                }
                at += sector.len();
                rest = behind;
            }
        }
        if blast.unit > 0 && random.below(2) == 0 {
            let (offset, bytes) = &pending[random.below(pending.len() as u64) as usize];
            let at = offset + random.below(bytes.len().max(1) as u64) as usize;
            let from = at / blast.unit * blast.unit;
            let to = (from + blast.unit).min(content.len());
            for byte in content.get_mut(from..to).unwrap_or_default() {
                *byte = random.next_u64() as u8;
            }
        }
        self.live.clone_from(&content);
        self.durable = content;
    }
}

fn not_found() -> Error {
    Error::from(ErrorKind::NotFound)
}

impl Disk for SimDisk {
    fn enter(&mut self, site: Site) {
        self.state().site = Some(site);
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.list("").map(drop)
    }

    fn folders(&mut self) -> io::Result<Vec<String>> {
        Ok(self.state().folders.iter().cloned().collect())
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        if self.state().folders.contains(folder) {
            return Ok(());
        }
        if let Some(mut state) = self.change()? {
            state.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        if let Some(mut state) = self.change()? {
            let prefix = format!("{folder}/");
            if state.live.keys().any(|name| name.starts_with(&prefix)) {
                return Err(Error::from(ErrorKind::DirectoryNotEmpty));
            }
            state.folders.remove(folder);
        }
        Ok(())
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
        let content = &state.inodes[inode].live;
        let content = content.get(offset as usize..).unwrap_or_default();
        let count = content.len().min(out.len());
        out[..count].copy_from_slice(&content[..count]);
        Ok(count)
    }

    fn create(&mut self, file: &str, len: u64) -> io::Result<()> {
        let Some(mut state) = self.change()? else {
            return Ok(());
        };
        if !state.has_room(len as usize) {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        state.inodes.push(Inode {
            live: vec![0; len as usize],
            durable: vec![0; len as usize],
            ..Inode::default()
        });
        let inode = state.inodes.len() - 1;
        if state.live.insert(file.to_owned(), inode).is_some() {
            state.name_ops.push(NameOp::Unset(file.to_owned()));
        }
        state.name_ops.push(NameOp::Set(file.to_owned(), inode));
        Ok(())
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(mut state) = self.change()? else {
            return Ok(());
        };
        if !state.live.contains_key(file) {
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.live.insert(file.to_owned(), inode);
            state.name_ops.push(NameOp::Set(file.to_owned(), inode));
        }
        let inode = state.live[file];
        let is_short = state.faults.short_writes > 0;
        state.faults.short_writes = state.faults.short_writes.saturating_sub(1);
        let written = if is_short {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let offset = offset as usize;
        let grown = (offset + written.len()).saturating_sub(state.inodes[inode].live.len());
        if grown > 0 && !state.has_room(grown) {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        let inode = &mut state.inodes[inode];
        write_over(&mut inode.live, offset, written);
        inode.pending.push((offset, written.to_vec()));
        if is_short {
            return Err(Error::other("simulated short write"));
        }
        Ok(())
    }

    fn sync(&mut self, file: &str) -> io::Result<()> {
        let Some(mut state) = self.change()? else {
            return Ok(());
        };
        state.syncs += 1;
        let inode = *state.live.get(file).ok_or_else(not_found)?;
        if state.faults.failing_syncs > 0 {
            state.faults.failing_syncs -= 1;
            let seed = state.operations ^ 0xBAD5_9C00_0000_0000;
            state.inodes[inode].fail_sync(&mut Random::new(seed));
            return Err(Error::other("simulated sync failure"));
        }
        if !state.faults.lying_syncs {
            state.inodes[inode].sync();
        }
        Ok(())
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        let Some(mut state) = self.change()? else {
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
        let Some(mut state) = self.change()? else {
            return Ok(());
        };
        let inode = state.live.remove(from).ok_or_else(not_found)?;
        state.live.insert(to.to_owned(), inode);
        state.name_ops.push(NameOp::Set(to.to_owned(), inode));
        state.name_ops.push(NameOp::Unset(from.to_owned()));
        Ok(())
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        let Some(mut state) = self.change()? else {
            return Ok(());
        };
        state.live.remove(file).ok_or_else(not_found)?;
        state.name_ops.push(NameOp::Unset(file.to_owned()));
        Ok(())
    }
}
