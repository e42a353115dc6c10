//! Token buckets by name.
//!
//! Promises: bounded memory; a bucket that is full again is forgotten. Never: a clock of its own.

use std::collections::HashMap;

/// More names than this share the strictness of the newest: whoever is not remembered starts anew.
const KEYS_MAX: usize = 10_000;
/// A token in units of which time adds a whole number per millisecond.
const TOKEN: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u64,
    at_ms: u64,
}

/// Buckets of one size and speed.
#[derive(Debug)]
pub(super) struct Rates {
    /// Units per millisecond.
    speed: u64,
    size: u64,
    buckets: HashMap<String, Bucket>,
}

impl Rates {
    pub(super) fn per_second(count: u32, burst: u32) -> Self {
        Self::new(u64::from(count) * 60, burst)
    }

    pub(super) fn per_minute(count: u32, burst: u32) -> Self {
        Self::new(count.into(), burst)
    }

    fn new(speed: u64, burst: u32) -> Self {
        Self {
            speed,
            size: u64::from(burst) * TOKEN,
            buckets: HashMap::new(),
        }
    }

    fn level(&self, bucket: Bucket, now_ms: u64) -> u64 {
        let gained = now_ms
            .saturating_sub(bucket.at_ms)
            .saturating_mul(self.speed);
        bucket.level.saturating_add(gained).min(self.size)
    }

    /// Takes a token, or says in how many seconds there is one.
    pub(super) fn take(&mut self, key: &str, now_ms: u64) -> Result<(), u32> {
        let full = Bucket {
            level: self.size,
            at_ms: now_ms,
        };
        let level = self.level(self.buckets.get(key).copied().unwrap_or(full), now_ms);
        if level < TOKEN {
            let wait_ms = (TOKEN - level).div_ceil(self.speed.max(1));
            let wait_s = wait_ms.div_ceil(1_000).max(1);
            return Err(u32::try_from(wait_s).unwrap_or(u32::MAX));
        }
        if self.buckets.len() >= KEYS_MAX && !self.buckets.contains_key(key) {
            self.sweep(now_ms);
        }
        let bucket = Bucket {
            level: level - TOKEN,
            at_ms: now_ms,
        };
        self.buckets.insert(key.to_owned(), bucket);
        Ok(())
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.buckets.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    fn sweep(&mut self, now_ms: u64) {
        let (speed, size) = (self.speed, self.size);
        self.buckets.retain(|_, bucket| {
            let gained = now_ms.saturating_sub(bucket.at_ms).saturating_mul(speed);
            bucket.level.saturating_add(gained) < size
        });
        if self.buckets.len() >= KEYS_MAX {
            self.buckets.clear();
        }
    }
}
