//! The spool and its peers behind one small door: append, commit, read the oldest, delete them durably.
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use gateway::spool::disk::RealDisk;
use gateway::spool::store::Store;
use gateway::spool::{Frame, PerLane, Place, SpoolLimits};
use redb::{ReadableDatabase, ReadableTable};

pub(crate) trait Engine {
    fn append(&mut self, record: &[u8]);
    /// Everything appended is durable.
    fn commit(&mut self);
    /// Reads so many of the oldest, then deletes them durably; how many there were, and their bytes.
    fn take(&mut self, count: usize) -> (usize, u64);
}

pub(crate) const PEERS: [&str; 4] = ["sqlite", "redb", "fjall", "growing"];

pub(crate) fn open(name: &str, dir: &Path) -> Box<dyn Engine> {
    std::fs::create_dir_all(dir).unwrap();
    match name {
        "spool" => Box::new(OurSpool::open(dir, limits(1 << 33), 1)),
        "sqlite" => Box::new(Sqlite::open(dir)),
        "redb" => Box::new(Redb::open(dir)),
        "fjall" => Box::new(Fjall::open(dir)),
        "growing" => Box::new(Growing::open(dir)),
        other => panic!("no engine {other}"),
    }
}

pub(crate) fn limits(max_bytes: u64) -> SpoolLimits {
    SpoolLimits {
        max_bytes: PerLane::from_fn(|_| max_bytes),
        total_bytes: 3 * max_bytes,
        ram_bytes: PerLane::from_fn(|_| 1 << 20),
        segment_bytes: 4 * 1024 * 1024,
        align: 4096,
        slot_bytes: 64 * 1024,
        history_ms: 0,
        pending_count_max: 8_192,
    }
}

pub(crate) fn stream(start: u64) -> StreamId {
    StreamId {
        epoch: Epoch::from_random(start),
        lane: Lane::Telemetry,
    }
}

pub(crate) struct OurSpool {
    pub(crate) store: Store,
    stream: StreamId,
    seq: u64,
    cursor: Place,
}

impl OurSpool {
    pub(crate) fn open(dir: &Path, limits: SpoolLimits, start: u64) -> Self {
        let stream = stream(start);
        let disk = Box::new(RealDisk::new(dir));
        let store = Store::open(disk, limits, stream.epoch, 0);
        assert!(!store.is_in_ram());
        Self {
            store,
            stream,
            seq: 0,
            cursor: Place::default(),
        }
    }

    pub(crate) fn append_batch(&mut self, count: u64, bytes: Vec<u8>) {
        let range = SeqRange::from_count(self.seq, count).unwrap();
        self.seq = range.next_seq();
        let frame = Frame {
            stream: self.stream,
            range,
            bytes,
        };
        assert!(self.store.append(frame));
    }

    /// Reads on without acknowledging; how many there were.
    pub(crate) fn read_only(&mut self, count: usize) -> usize {
        let mut read = 0;
        while read < count {
            let Some((place, id, range)) = self.store.next(Lane::Telemetry, &mut self.cursor)
            else {
                break;
            };
            std::hint::black_box(self.store.read(place, id, range).unwrap());
            read += 1;
        }
        read
    }

    pub(crate) fn acknowledge_all(&mut self) {
        if let Some(range) = SeqRange::from_count(0, self.seq) {
            self.store.acknowledge(self.stream, range);
            self.store.settle();
        }
    }
}

impl Engine for OurSpool {
    fn append(&mut self, record: &[u8]) {
        self.append_batch(1, record.to_vec());
    }

    fn commit(&mut self) {
        assert!(self.store.commit());
    }

    fn take(&mut self, count: usize) -> (usize, u64) {
        let (mut taken, mut bytes) = (0, 0);
        while taken < count {
            let Some((place, id, range)) = self.store.next(Lane::Telemetry, &mut self.cursor)
            else {
                break;
            };
            bytes += self.store.read(place, id, range).unwrap().len() as u64;
            self.store.acknowledge(id, range);
            taken += 1;
        }
        if taken > 0 {
            self.store.settle();
            assert!(self.store.checkpoint());
        }
        (taken, bytes)
    }
}

/// WAL, synchronous = FULL: every commit is durable.
struct Sqlite {
    db: rusqlite::Connection,
    is_open: bool,
}

impl Sqlite {
    fn open(dir: &Path) -> Self {
        let db = rusqlite::Connection::open(dir.join("db")).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "FULL").unwrap();
        let table = "CREATE TABLE IF NOT EXISTS q (id INTEGER PRIMARY KEY, record BLOB NOT NULL)";
        db.execute_batch(table).unwrap();
        Self { db, is_open: false }
    }
}

impl Engine for Sqlite {
    fn append(&mut self, record: &[u8]) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.db.execute_batch("BEGIN").unwrap();
        }
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO q (record) VALUES (?1)")
            .unwrap();
        insert.execute([record]).unwrap();
    }

    fn commit(&mut self) {
        self.is_open = false;
        self.db.execute_batch("COMMIT").unwrap();
    }

    fn take(&mut self, count: usize) -> (usize, u64) {
        let (mut taken, mut bytes, mut last) = (0, 0, 0_i64);
        {
            let mut select = self
                .db
                .prepare_cached("SELECT id, record FROM q ORDER BY id LIMIT ?1")
                .unwrap();
            let mut rows = select.query([count as i64]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                last = row.get(0).unwrap();
                bytes += row.get_ref(1).unwrap().as_blob().unwrap().len() as u64;
                taken += 1;
            }
        }
        if taken > 0 {
            let mut delete = self
                .db
                .prepare_cached("DELETE FROM q WHERE id <= ?1")
                .unwrap();
            delete.execute([last]).unwrap();
        }
        (taken, bytes)
    }
}

const TABLE: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("q");

/// Durability::Immediate, the default: every commit is durable.
struct Redb {
    db: redb::Database,
    open: Vec<Vec<u8>>,
    next: u64,
}

impl Redb {
    fn open(dir: &Path) -> Self {
        let db = redb::Database::create(dir.join("db")).unwrap();
        let write = db.begin_write().unwrap();
        let next = {
            let table = write.open_table(TABLE).unwrap();
            let last = table.last().unwrap();
            last.map_or(0, |(key, _)| key.value() + 1)
        };
        write.commit().unwrap();
        Self {
            db,
            open: Vec::new(),
            next,
        }
    }
}

impl Engine for Redb {
    fn append(&mut self, record: &[u8]) {
        self.open.push(record.to_vec());
    }

    fn commit(&mut self) {
        let write = self.db.begin_write().unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for record in self.open.drain(..) {
                table.insert(self.next, &record[..]).unwrap();
                self.next += 1;
            }
        }
        write.commit().unwrap();
    }

    fn take(&mut self, count: usize) -> (usize, u64) {
        let mut keys = Vec::with_capacity(count);
        let mut bytes = 0;
        {
            let read = self.db.begin_read().unwrap();
            let table = read.open_table(TABLE).unwrap();
            for row in table.iter().unwrap().take(count) {
                let (key, value) = row.unwrap();
                bytes += value.value().len() as u64;
                keys.push(key.value());
            }
        }
        if keys.is_empty() {
            return (0, 0);
        }
        let write = self.db.begin_write().unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for key in &keys {
                table.remove(key).unwrap();
            }
        }
        write.commit().unwrap();
        (keys.len(), bytes)
    }
}

/// Every commit ends with PersistMode::SyncAll.
struct Fjall {
    db: fjall::Database,
    records: fjall::Keyspace,
    next: u64,
    from: u64,
}

impl Fjall {
    fn open(dir: &Path) -> Self {
        let db = fjall::Database::builder(dir.join("db")).open().unwrap();
        let options = fjall::KeyspaceCreateOptions::default;
        let records = db.keyspace("q", options).unwrap();
        let number = |key: &[u8]| u64::from_be_bytes(key.try_into().unwrap());
        let next = records
            .last_key_value()
            .map_or(0, |row| number(&row.key().unwrap()) + 1);
        let from = records
            .first_key_value()
            .map_or(0, |row| number(&row.key().unwrap()));
        Self {
            db,
            records,
            next,
            from,
        }
    }
}

impl Engine for Fjall {
    fn append(&mut self, record: &[u8]) {
        self.records
            .insert(self.next.to_be_bytes(), record)
            .unwrap();
        self.next += 1;
    }

    fn commit(&mut self) {
        self.db.persist(fjall::PersistMode::SyncAll).unwrap();
    }

    fn take(&mut self, count: usize) -> (usize, u64) {
        let mut bytes = 0;
        let mut keys = Vec::with_capacity(count);
        // From where the last look ended: a look from the beginning would wade through what is deleted.
        for row in self.records.range(self.from.to_be_bytes()..).take(count) {
            let (key, value) = row.into_inner().unwrap();
            bytes += value.len() as u64;
            keys.push(key);
        }
        if let Some(last) = keys.last() {
            self.from = u64::from_be_bytes((&**last).try_into().unwrap()) + 1;
            for key in &keys {
                self.records.remove(key.clone()).unwrap();
            }
            self.commit();
        }
        (keys.len(), bytes)
    }
}

/// An append-only file with lengths, and a file with a position: no checksum, no bound, and no room is
/// ever given back. What a few lines of code would do.
struct Growing {
    log: File,
    position: File,
    open: Vec<u8>,
    end: u64,
    at: u64,
}

impl Growing {
    fn open(dir: &Path) -> Self {
        let file = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
                .unwrap()
        };
        let (log, mut position) = (file("log"), file("position"));
        let mut text = Vec::new();
        position.read_to_end(&mut text).unwrap();
        let at = text.first_chunk().map_or(0, |at| u64::from_le_bytes(*at));
        let end = log.metadata().unwrap().len();
        Self {
            log,
            position,
            open: Vec::new(),
            end,
            at,
        }
    }
}

impl Engine for Growing {
    fn append(&mut self, record: &[u8]) {
        self.open
            .write_all(&(record.len() as u32).to_le_bytes())
            .unwrap();
        self.open.write_all(record).unwrap();
    }

    fn commit(&mut self) {
        self.log.write_all_at(&self.open, self.end).unwrap();
        self.end += self.open.len() as u64;
        self.open.clear();
        self.log.sync_data().unwrap();
    }

    fn take(&mut self, count: usize) -> (usize, u64) {
        let mut window = vec![0; count * 300];
        let read = self.log.read_at(&mut window, self.at).unwrap();
        let (mut taken, mut bytes, mut at) = (0, 0, 0);
        while taken < count && at + 4 <= read {
            let len = u32::from_le_bytes(window[at..at + 4].try_into().unwrap()) as usize;
            if at + 4 + len > read {
                break;
            }
            bytes += std::hint::black_box(&window[at + 4..at + 4 + len])
                .to_vec()
                .len() as u64;
            at += 4 + len;
            taken += 1;
        }
        if taken > 0 {
            self.at += at as u64;
            self.position
                .write_all_at(&self.at.to_le_bytes(), 0)
                .unwrap();
            self.position.sync_data().unwrap();
        }
        (taken, bytes)
    }
}
