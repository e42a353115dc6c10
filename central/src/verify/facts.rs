//! What a database says, before anybody judges it.
//!
//! Promises: counted in the tables, not taken from what the have-set says of them. Never: a judgement.

use std::collections::BTreeMap;

use firmware_shared::have_set::UnboundedHaveSet;

use crate::ingest::{LossLedger, StreamKey};

/// A whole database, seen at one moment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) streams: BTreeMap<StreamKey, StreamFacts>,
    /// Per device: readings of one sensor with one stamp of one boot under different numbers, beyond the
    /// first of each. An epoch whose boot nobody told is a boot of its own; figures of the gateway differ by
    /// metric, too.
    pub(super) duplicate_stamps: Vec<(String, u64)>,
    /// Device, name, value.
    pub(super) counters: Vec<(String, String, u64)>,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct StreamFacts {
    /// Numbers that have a row, an alert, a raw frame or, for frames without rows, their frame.
    pub(super) stored: UnboundedHaveSet,
    /// Rows beyond the first under one number.
    pub(super) duplicate_keys: u64,
    pub(super) have: UnboundedHaveSet,
    pub(super) expired: UnboundedHaveSet,
    pub(super) ledger: LossLedger,
    /// 0 when the device told none.
    pub(super) reported_next_seq: u64,
}
