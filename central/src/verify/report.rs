//! The report: per device and in total.

use std::collections::BTreeMap;

use serde::Serialize;

use super::account::Account;
use crate::ingest::StreamKey;

/// So many places are named per device; the counts are complete.
const PLACES_MAX: usize = 100;

/// What `verify` found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) issued: u64,
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    pub(crate) lost: u64,
    pub(crate) lost_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) expired: u64,
    pub(crate) unexplained_gaps: u64,
    pub(crate) unlisted: u64,
    pub(crate) unknown_tails: u64,
    pub(crate) quarantined: u64,
    pub(crate) clashes: u64,
    pub(crate) devices: Vec<DeviceReport>,
}

/// The same of one device. Numbers of readings, except where it says otherwise.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DeviceReport {
    pub(crate) device: String,
    pub(crate) issued: u64,
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    /// Of the duplicates: equal stamps under different numbers.
    pub(crate) duplicate_stamps: u64,
    pub(crate) lost: u64,
    pub(crate) lost_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) expired: u64,
    pub(crate) unexplained_gaps: u64,
    pub(crate) unlisted: u64,
    /// Frames that were set aside.
    pub(crate) quarantined: u64,
    /// Frames, births and boots that contradict what is known.
    pub(crate) clashes: u64,
    pub(crate) lanes: BTreeMap<&'static str, LaneReport>,
    /// The first unexplained gaps.
    pub(crate) gaps: Vec<Place>,
    /// Tails of crashed epochs whose length nobody knows.
    pub(crate) unknown_tails: Vec<Tail>,
}

/// The same of one lane.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LaneReport {
    pub(crate) issued: u64,
    pub(crate) stored: u64,
    pub(crate) lost: u64,
    pub(crate) expired: u64,
    pub(crate) unexplained_gaps: u64,
}

/// Where numbers are missing.
#[derive(Debug, Serialize)]
pub(crate) struct Place {
    /// 16 hex digits.
    pub(crate) epoch: String,
    pub(crate) lane: &'static str,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// An unknown tail.
#[derive(Debug, Serialize)]
pub(crate) struct Tail {
    /// 16 hex digits.
    pub(crate) epoch: String,
    pub(crate) lane: &'static str,
    pub(crate) first_seq: u64,
    pub(crate) at_most: Option<u64>,
}

impl DeviceReport {
    pub(super) fn add(&mut self, key: &StreamKey, account: &Account) {
        let lost: u64 = account.lost.values().sum();
        let gaps: u64 = account.gaps.iter().map(|gap| gap.count()).sum();
        self.issued += account.issued;
        self.stored += account.stored;
        self.duplicates += account.duplicate_keys;
        self.lost += lost;
        self.expired += account.expired;
        self.unexplained_gaps += gaps;
        self.unlisted += account.unlisted;
        for (reason, count) in account.lost.iter().filter(|(_, count)| **count > 0) {
            *self.lost_by_reason.entry(reason).or_default() += count;
        }
        let (epoch, lane) = (key.stream.epoch.to_string(), key.stream.lane.name());
        let by_lane = self.lanes.entry(lane).or_default();
        by_lane.issued += account.issued;
        by_lane.stored += account.stored;
        by_lane.lost += lost;
        by_lane.expired += account.expired;
        by_lane.unexplained_gaps += gaps;
        let room = PLACES_MAX.saturating_sub(self.gaps.len());
        self.gaps
            .extend(account.gaps.iter().take(room).map(|gap| Place {
                epoch: epoch.clone(),
                lane,
                first_seq: gap.first_seq,
                last_seq: gap.last_seq,
            }));
        if let Some((first_seq, at_most)) = account.unknown_tail {
            self.unknown_tails.push(Tail {
                epoch,
                lane,
                first_seq,
                at_most,
            });
        }
    }
}

impl Report {
    /// Names the devices and adds them up.
    pub(super) fn new(devices: BTreeMap<String, DeviceReport>) -> Self {
        let devices: Vec<DeviceReport> = devices
            .into_iter()
            .map(|(device, report)| DeviceReport { device, ..report })
            .collect();
        let sum = |part: fn(&DeviceReport) -> u64| devices.iter().map(part).sum();
        let mut lost_by_reason = BTreeMap::new();
        for (reason, count) in devices.iter().flat_map(|device| &device.lost_by_reason) {
            *lost_by_reason.entry(*reason).or_default() += count;
        }
        Self {
            issued: sum(|device| device.issued),
            stored: sum(|device| device.stored),
            duplicates: sum(|device| device.duplicates),
            lost: sum(|device| device.lost),
            lost_by_reason,
            expired: sum(|device| device.expired),
            unexplained_gaps: sum(|device| device.unexplained_gaps),
            unlisted: sum(|device| device.unlisted),
            unknown_tails: sum(|device| device.unknown_tails.len() as u64),
            quarantined: sum(|device| device.quarantined),
            clashes: sum(|device| device.clashes),
            devices,
        }
    }

    /// Whether every issued number is stored once or explained.
    pub(crate) fn is_sound(&self) -> bool {
        self.duplicates == 0 && self.unexplained_gaps == 0 && self.unlisted == 0
    }
}
