//! Sealing readings into a batch.
//!
//! Promises: the same readings, numbers and anchor give the same bytes; what does not fit is said before
//! anything is promised, with the place where the batch should have been closed. Never: changes a reading.

use core::fmt;

use crate::id::{Epoch, Lane};
use crate::reading::Reading;
use crate::time::TimeAnchor;

use super::column::Column;
use super::header::{CodecId, EXTENSION_LEN_MAX, Header};
use super::model::{FIELDS_MAX, Model};
use super::range_coder::{Observed, Pipe, Writer};
use super::sealed::{begin, finish};
use super::stream::STREAMS_MAX;
use super::survey::Survey;
use super::{BATCH_LEN_MAX, COUNT_MAX};

/// What a batch of readings says besides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealParams {
    /// The process start that issued the numbers.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The number of the first reading; each next reading has the next number.
    pub first_seq: u64,
    /// The best bridge to UTC known at this time.
    pub anchor: Option<TimeAnchor>,
}

/// Why a batch cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// No readings, or more than [`COUNT_MAX`].
    Count {
        /// How many.
        count: usize,
    },
    /// The numbers run over the end, or there are none.
    Numbers {
        /// The first number.
        first_seq: u64,
        /// How many.
        count: u16,
    },
    /// Close the batch before this reading: it begins one stream (sensor, kind, and unit, fault or metric)
    /// more than a reader on a microcontroller can remember.
    TooManySensors {
        /// The place of that reading in the slice.
        index: usize,
    },
    /// The extension is longer than [`EXTENSION_LEN_MAX`].
    Extension {
        /// How long.
        len: usize,
    },
    /// The buffer is too small; [`BATCH_LEN_MAX`] always suffices for readings.
    Room {
        /// How long the buffer is.
        len: usize,
    },
    /// The codec did not reproduce the reading at this place: a defect of this crate.
    Defect {
        /// The place of that reading in the slice.
        index: usize,
    },
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { count } => {
                write!(
                    f,
                    "{count} readings in a batch; allowed are 1 to {COUNT_MAX}"
                )
            }
            Self::Numbers { first_seq, count } => {
                write!(
                    f,
                    "{count} numbers from {first_seq}; allowed are 1 or more, below 2^64 - 1"
                )
            }
            Self::TooManySensors { index } => write!(
                f,
                "reading {index} needs more than {STREAMS_MAX} streams or {FIELDS_MAX} numbers of state; \
                 close the batch before it"
            ),
            Self::Extension { len } => {
                write!(
                    f,
                    "an extension of {len} bytes; allowed are at most {EXTENSION_LEN_MAX}"
                )
            }
            Self::Room { len } => {
                write!(
                    f,
                    "a buffer of {len} bytes is too small; {BATCH_LEN_MAX} always suffice"
                )
            }
            Self::Defect { index } => write!(f, "reading {index} was not reproduced by the codec"),
        }
    }
}

impl core::error::Error for SealError {}

/// Seals readings in the order of their numbers. Returns the sealed length.
///
/// # Errors
/// See [`SealError`]; with a buffer of [`BATCH_LEN_MAX`] only the readings or their numbers can be at fault.
pub fn seal(params: &SealParams, readings: &[Reading], out: &mut [u8]) -> Result<usize, SealError> {
    seal_extended(params, &[], readings, out)
}

/// As [`seal`], with bytes in the header that readers of this version skip.
///
/// # Errors
/// As [`seal`], or the extension is too long.
pub fn seal_extended(
    params: &SealParams,
    extension: &[u8],
    readings: &[Reading],
    out: &mut [u8],
) -> Result<usize, SealError> {
    let survey = surveyed(readings)?;
    let header = Header {
        codec: CodecId::COLUMNS_V1,
        epoch: params.epoch,
        lane: params.lane,
        first_seq: params.first_seq,
        count: readings.len() as u16,
        base_ms: survey.base_ms,
        anchor: params.anchor,
    };
    let start = begin(&header, extension, out)?;
    let room = SealError::Room { len: out.len() };
    let mut writer = Writer::new(out, start);
    write(&mut writer, survey, readings)?;
    let end = writer.finish().ok_or(room)?;
    finish(out, end)
}

/// Tells every residual that sealing these readings would code, for measurements.
///
/// # Errors
/// As [`seal`].
pub fn residuals(readings: &[Reading], each: &mut dyn FnMut(Column, i64)) -> Result<(), SealError> {
    write(&mut Observed(each), surveyed(readings)?, readings)
}

fn surveyed(readings: &[Reading]) -> Result<Survey, SealError> {
    if readings.is_empty() || readings.len() > COUNT_MAX {
        return Err(SealError::Count {
            count: readings.len(),
        });
    }
    Survey::of(readings).map_err(|at| SealError::TooManySensors { index: at.index })
}

/// Codes readings by a plan that was made for them.
pub(super) fn write<P: Pipe>(
    pipe: &mut P,
    survey: Survey,
    readings: &[Reading],
) -> Result<(), SealError> {
    let mut model = Model::begin(pipe, survey.plan, survey.base_ms);
    for (index, (reading, stream)) in readings.iter().zip(&survey.streams).enumerate() {
        model
            .row(pipe, reading, usize::from(*stream))
            .map_err(|_| SealError::Defect { index })?;
    }
    Ok(())
}
