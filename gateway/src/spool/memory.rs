//! A disk in RAM: where the spool lives when its real disk cannot be used.
//!
//! Promises: no call fails except for a missing file. Never: survives the process; bounds itself (the
//! spool's RAM quota does).

use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};

use super::disk::Disk;

/// Files in RAM.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryDisk {
    fn file(&self, name: &str) -> io::Result<&Vec<u8>> {
        self.files
            .get(name)
            .ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
}

/// Copies what lies at `offset`, as far as both reach.
pub(crate) fn copy_at(content: &[u8], offset: u64, out: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let content = content.get(start..).unwrap_or_default();
    let count = content.len().min(out.len());
    if let (Some(to), Some(from)) = (out.get_mut(..count), content.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// Writes over what lies at `offset`, lengthening the content with zeros when needed.
pub(crate) fn write_over(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(to) = content.get_mut(start..end) {
        to.copy_from_slice(bytes);
    }
}

impl Disk for MemoryDisk {
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn list(&mut self, folder: &str) -> io::Result<Vec<String>> {
        let in_folder = |name: &String| match name.rsplit_once('/') {
            Some((parent, leaf)) if parent == folder => Some(leaf.to_owned()),
            None if folder.is_empty() => Some(name.clone()),
            _ => None,
        };
        Ok(self.files.keys().filter_map(in_folder).collect())
    }

    fn len(&mut self, file: &str) -> io::Result<u64> {
        self.file(file).map(|content| content.len() as u64)
    }

    fn read_at(&mut self, file: &str, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.file(file).map(|content| copy_at(content, offset, out))
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_over(
            self.files.entry(file.to_owned()).or_default(),
            offset,
            bytes,
        );
        Ok(())
    }

    fn truncate(&mut self, file: &str, len: u64) -> io::Result<()> {
        let content = self
            .files
            .get_mut(file)
            .ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        content.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self, file: &str) -> io::Result<()> {
        self.file(file).map(drop)
    }

    fn sync_folder(&mut self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self
            .files
            .remove(from)
            .ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        self.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.files
            .remove(file)
            .map(drop)
            .ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
}
