//! What happens when the disk fails.
//!
//! Promises: bytes that were not durable when a write or sync failed are taken by a fresh segment, or by RAM
//! when that fails, too; the way back from RAM is taken only when the disk has taken everything. Never:
//! syncs the failed file again; writes over a state that this process could not read.

use std::io;

use firmware_shared::id::{Lane, StreamId};

use super::lane_log::{Home, Salvage};
use super::{Spool, SpoolEvent, disk_of, state};

impl Spool {
    /// After a failed write or sync: brings the bytes that are not durable into a fresh segment, or
    /// into RAM when that fails, too.
    pub(super) fn rescue(&mut self, lane: Lane, error: &io::Error) {
        tracing::warn!(%lane, %error, "the spool gives up a segment whose write failed");
        self.counts.get_mut(lane).disk_errors += 1;
        let salvage = self.logs.get_mut(lane).salvage();
        if self.mode == Home::Disk {
            match self.refill(lane, &salvage) {
                Ok(()) => return self.note_durable(lane),
                Err(e) => {
                    self.counts.get_mut(lane).disk_errors += 1;
                    // The bytes are still in our hands: what the failed segment has of them goes.
                    drop(self.logs.get_mut(lane).salvage());
                    self.degrade(&e);
                }
            }
        }
        if let Err(e) = self.refill(lane, &salvage) {
            tracing::error!(%lane, error = %e, "the spool's RAM refused bytes");
        }
    }

    fn refill(&mut self, lane: Lane, salvage: &Salvage) -> io::Result<()> {
        let mode = self.mode;
        self.logs.get_mut(lane).roll(mode);
        self.write_note(StreamId {
            epoch: self.running,
            lane,
        })?;
        let disk = disk_of(&mut self.disk, &mut self.ram, mode);
        let log = self.logs.get_mut(lane);
        log.restore(disk, salvage)?;
        log.sync(disk).map(drop)
    }

    /// Goes on in RAM.
    pub(super) fn degrade(&mut self, error: &io::Error) {
        if self.mode == Home::Disk {
            self.mode = Home::Ram;
            self.events.push(SpoolEvent::Degraded(error.to_string()));
        }
    }

    /// Tries to leave RAM mode: the disk must take the state and everything that is in RAM.
    pub(crate) fn try_return_to_disk(&mut self) {
        if self.mode == Home::Disk || !self.disk_was_read {
            return;
        }
        self.mode = Home::Disk;
        match self.move_ram_to_disk() {
            Ok(()) => {
                self.events.push(SpoolEvent::Recovered);
                self.state_dirty = true;
                Lane::ALL
                    .into_iter()
                    .for_each(|lane| self.note_durable(lane));
            }
            Err(error) => {
                tracing::debug!(%error, "the spool's disk still cannot be used");
                self.mode = Home::Ram;
            }
        }
    }

    fn move_ram_to_disk(&mut self) -> io::Result<()> {
        self.disk.prepare()?;
        state::store(self.disk.as_mut(), &self.book)?;
        for lane in Lane::ALL {
            self.sync_lane(lane);
            if self.mode == Home::Ram {
                return Err(io::Error::other("it failed once more"));
            }
            let log = self.logs.get_mut(lane);
            let in_ram = log.segments.iter().filter(|s| s.home == Home::Ram);
            for id in in_ram.map(|s| s.id).collect::<Vec<_>>() {
                log.move_to_disk(&mut self.ram, self.disk.as_mut(), id)?;
            }
        }
        Ok(())
    }
}
