//! The interface control document of Fleet Gateway, as code.
//!
//! Promises: every byte that crosses the wire or rests on a disk is defined here, is little-endian or
//! varint, carries a CRC, and is pinned by golden bytes per version (`tests/golden`). Decoders accept
//! arbitrary bytes without a panic and without a heap.
//!
//! Never: reads a clock, allocates (feature `alloc` adds unbounded have-sets for hosts), uses floats on
//! the wire, knows a bus, a disk or a socket.
//!
//! Reading order: [`units`], [`reading`], [`id`], [`time`], [`batch`], [`have_set`], [`message`],
//! [`alert`], [`topic`], [`serial`].
#![cfg_attr(not(test), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod alert;
pub mod batch;
pub mod catalogue;
pub mod checksum;
pub mod detect;
pub mod have_set;
pub mod id;
pub mod message;
pub mod reading;
pub mod serial;
pub mod time;
pub mod topic;
pub mod units;
