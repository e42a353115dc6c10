//! What a reading says, as the columns of a row: the same in every database.
//!
//! Promises: every number of a reading is in its cells exactly; floats stand beside the integers, for people.
//! Never: a default for what the device did not say; a database's own words.

pub(crate) mod names;

use firmware_shared::reading::{Position, Value};
use firmware_shared::time::BootId;

/// What differs by kind, except a position's own columns.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub(crate) raw: Option<i64>,
    pub(crate) detail: Option<i64>,
    pub(crate) aux: Option<i64>,
    pub(crate) scalar: Option<f64>,
    pub(crate) position: Option<Position>,
}

/// The cells of a value.
pub(crate) fn cells(value: &Value) -> Cells {
    let plain = |raw: i64, detail: Option<i64>, aux: Option<i64>| Cells {
        raw: Some(raw),
        detail,
        aux,
        ..Cells::default()
    };
    match value {
        Value::Temperature(value) => plain(value.0.into(), None, None),
        Value::State(state) => plain((*state).into(), None, None),
        Value::Scalar(scalar) => Cells {
            scalar: Some(decimal(scalar.value, scalar.scale)),
            ..plain(
                scalar.value.into(),
                Some(scalar.unit.0.into()),
                Some(scalar.scale.into()),
            )
        },
        Value::Fault(fault) => plain(
            fault.code.into(),
            Some(fault.kind.0.into()),
            Some(fault.register.into()),
        ),
        Value::Health(health) => plain(health.value, Some(health.metric.0.into()), None),
        Value::Position(position) => Cells {
            detail: Some(position.fix.0.into()),
            position: Some(*position),
            ..Cells::default()
        },
    }
}

/// `value * 10^scale` for people; dividing by an exact power keeps 215 at scale -1 the float 21.5.
fn decimal(value: i32, scale: i8) -> f64 {
    let power = 10f64.powi(i32::from(scale).abs());
    match scale {
        0.. => f64::from(value) * power,
        _ => f64::from(value) / power,
    }
}

/// A boot from its 32 hex digits.
pub(crate) fn boot_from_hex(hex: &str) -> Option<BootId> {
    (hex.len() == 32).then_some(())?;
    let number = u128::from_str_radix(hex, 16).ok()?;
    Some(BootId(number.to_be_bytes()))
}
