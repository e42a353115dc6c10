//! Golden bytes of the wire, one file per version and subject.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod batch_v1;
mod messages_v1;
