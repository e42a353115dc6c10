//! What happens when the disk fails.
//!
//! Promises: what was not durable when a write or sync failed is still in RAM, and goes to another segment;
//! a segment whose sync failed is read while it holds something and then deleted; the way back from RAM is
//! taken only when the disk has taken everything. Never: syncs a failed segment again; writes over what this
//! process could not read.

use std::io;

use firmware_shared::id::{Lane, StreamId};
use firmware_shared::message::LossReason;

use super::disk::Site;
use super::{Mode, Spool, SpoolEvent};

impl Spool {
    /// After a failed write or sync: the last segment ends where it was durable.
    pub(super) fn give_up_tail(&mut self, lane: Lane, error: &io::Error) {
        tracing::warn!(%lane, %error, "the spool gives up a segment whose write failed");
        self.counts.get_mut(lane).disk_errors += 1;
        let log = self.lanes.get_mut(lane);
        let Some(failed) = log.tail().cloned() else {
            return;
        };
        log.take(failed.generation());
        for queued in log.queue.iter_mut() {
            queued.written = None;
        }
        let synced = log.synced.take();
        match synced.filter(|synced| synced.generation() == failed.generation()) {
            Some(mut synced) => {
                synced.is_retired = true;
                log.segments.push_back(synced);
            }
            None => self.retire_file(failed.file()),
        }
        *self.loaded.get_mut(lane) = None;
        // Acknowledged frames are written without a sync and leave RAM; a restored centre may have asked for
        // them since.
        for span in failed.spans {
            let id = StreamId {
                epoch: span.epoch,
                lane,
            };
            let held = self.held(id, span.range);
            for gone in held.missing_in(span.range).collect::<Vec<_>>() {
                self.lose(id, gone, LossReason::ReleasedBeforeRestore);
            }
        }
    }

    /// Goes on in RAM.
    pub(super) fn degrade(&mut self, error: &io::Error) {
        if self.mode == Mode::Disk {
            self.mode = Mode::Ram;
            self.events.push(SpoolEvent::Degraded(error.to_string()));
        }
    }

    /// Tries to leave RAM mode: the disk must take the cursor and everything that is in RAM.
    pub(crate) fn try_return_to_disk(&mut self) {
        if self.mode == Mode::Disk {
            return;
        }
        let found = match self.disk_was_read {
            true => self.disk.prepare(),
            false => self.find_blank(),
        };
        if let Err(error) = found {
            tracing::debug!(%error, "the spool's disk still cannot be used");
            return;
        }
        self.mode = Mode::Disk;
        let events = self.events.len();
        if self.write_cursor(Site::Cursor) && self.commit() {
            self.events.push(SpoolEvent::Recovered);
        } else {
            self.mode = Mode::Ram;
            // That it does not work is known already.
            self.events.truncate(events);
        }
    }

    /// Looks again for what could not be read at the start. Only where there is no spool at all nothing can
    /// be written over.
    fn find_blank(&mut self) -> io::Result<()> {
        let read = super::open::read_all;
        let (homes, contents) = read(self.disk.as_mut(), &self.limits, self.version, self.now_ms)?;
        let is_blank = homes.is_alone() && contents.is_blank();
        if !is_blank {
            return Err(io::Error::other(
                "there is a spool that could not be read at the start",
            ));
        }
        self.folder = homes.ours;
        self.pool = contents.pool;
        self.cursor = contents.cursor.cursor;
        self.disk_was_read = true;
        Ok(())
    }
}
