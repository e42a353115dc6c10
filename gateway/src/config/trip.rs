//! The profile of a trip: set-points, limits, the name of the load.
//!
//! Promises: TOML and JSON are read by the same rules as the configuration, so that what is wrong is one
//! sentence with key, value and what is allowed; a place that no thermometer of this device has is refused.
//! Never: a key that nobody reads.
//!
//! ```toml
//! version = 7
//! load_id = "L-4711"
//! effective_utc = "2027-01-04T08:00:00Z"
//!
//! [[compartment]]
//! name = "front"
//! set_point_deg_c = -18.0
//!
//! [[limit]]
//! role = "load"
//! compartment = "front"
//! high_deg_c = -15.0
//! duration_s = 600
//! ```

use std::path::Path;

use firmware_shared::catalogue::Name;
use toml::Table;

use super::limit::{self, PlacedLimit};
use super::{ConfigError, LIMITS_PER_SENSOR_MAX, Quantity, Section, SensorConfig, syntax};
use crate::score::SetPoint;

/// The longest text of a profile, bytes.
pub const PROFILE_LEN_MAX: usize = 16 * 1024;
const COMPARTMENTS_MAX: usize = 16;
const LIMITS_MAX: usize = 64;
const LOAD_ID_LEN_MAX: usize = 64;

/// A checked profile.
#[derive(Debug, Clone, PartialEq)]
pub struct TripProfile {
    /// Higher than any before.
    pub version: u64,
    /// The name of the load.
    pub load_id: Option<String>,
    /// From when it is in force, ms since 1970-01-01; at once, without it.
    pub effective_utc_ms: Option<i64>,
    /// What the controllers try to hold.
    pub set_points: Vec<SetPoint>,
    /// What is allowed; a sensor that one of these names keeps none of the configuration.
    pub limits: Vec<PlacedLimit>,
    /// As TOML that would be read as the same profile.
    pub text: String,
}

impl TripProfile {
    /// Reads and checks a profile. `next_version` is for one without a version, if that is allowed.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that a person must change.
    pub fn parse(
        origin: &Path,
        text: &str,
        next_version: Option<u64>,
        sensors: &[SensorConfig],
    ) -> Result<Self, ConfigError> {
        let mut root = Section::root(origin, table(origin, text)?);
        if text.len() > PROFILE_LEN_MAX {
            let allowed = format!("at most {PROFILE_LEN_MAX} bytes");
            return Err(root.refuse("length", text.len(), allowed));
        }
        let range = 1..=i64::MAX;
        let version = match next_version.and_then(|next| i64::try_from(next).ok()) {
            Some(next) => root.integer("version", next, range)?,
            None => root.required_integer("version", range)?,
        };
        let allowed = "a text of 1 to 64 bytes";
        let load_id = root.text_if_any("load_id", allowed)?;
        if let Some(load_id) = load_id.as_ref().filter(|id| id.len() > LOAD_ID_LEN_MAX) {
            return Err(root.refuse("load_id", format!("{load_id:?}"), allowed));
        }
        let effective_utc_ms = root.utc_ms_if_any("effective_utc")?;
        let set_points = read_set_points(&mut root, sensors)?;
        let limits = limit::read(&mut root)?;
        check_limits(&root, &limits, sensors)?;
        Ok(Self {
            version: version.unsigned_abs(),
            load_id,
            effective_utc_ms,
            set_points,
            limits,
            text: root.finish()?.to_string(),
        })
    }
}

/// JSON begins with a brace, which TOML never does.
fn table(origin: &Path, text: &str) -> Result<Table, ConfigError> {
    if !text.trim_start().starts_with('{') {
        return text
            .parse::<Table>()
            .map_err(|error| syntax(origin, text, &error));
    }
    serde_json::from_str::<Table>(text).map_err(|error| ConfigError::Syntax {
        file: origin.to_owned(),
        line: error.line(),
        reason: error.to_string(),
    })
}

fn read_set_points(
    root: &mut Section<'_>,
    sensors: &[SensorConfig],
) -> Result<Vec<SetPoint>, ConfigError> {
    let (mut set_points, mut tables) = (Vec::<SetPoint>::new(), Vec::new());
    for mut section in root.sections("compartment")? {
        let name = limit::read_compartment(&mut section, "name")?;
        let is_known = |name: &Name| sensors.iter().any(|sensor| sensor.compartment == *name);
        if let Some(name) = name.as_ref().filter(|name| !is_known(name)) {
            let allowed = "a compartment that a sensor of this device has";
            return Err(section.refuse("name", format!("{name:?}"), allowed));
        }
        let compartment = name.unwrap_or_default();
        if set_points
            .iter()
            .any(|point| point.compartment == compartment)
        {
            let allowed = "a compartment that is named once";
            return Err(section.refuse("name", format!("{compartment:?}"), allowed));
        }
        let key = "set_point_deg_c";
        let deg_c = section.number_if_any(key, -60.0..=60.0)?;
        let deg_c = deg_c.ok_or_else(|| section.missing(key, "a number from -60 to 60"))?;
        set_points.push(SetPoint { compartment, deg_c });
        tables.push(section.finish()?);
    }
    if set_points.len() > COMPARTMENTS_MAX {
        let allowed = format!("at most {COMPARTMENTS_MAX} compartments");
        return Err(root.refuse("compartment", set_points.len(), allowed));
    }
    root.adopt_all("compartment", tables);
    Ok(set_points)
}

fn check_limits(
    root: &Section<'_>,
    limits: &[PlacedLimit],
    sensors: &[SensorConfig],
) -> Result<(), ConfigError> {
    if limits.len() > LIMITS_MAX {
        let allowed = format!("at most {LIMITS_MAX} limits");
        return Err(root.refuse("limit", limits.len(), allowed));
    }
    for (at, limit) in limits.iter().enumerate() {
        if !sensors.iter().any(|sensor| limit.is_for(sensor)) {
            let allowed = "a role and compartment that a thermometer of this device has";
            return Err(root.refuse(&format!("limit[{at}]"), "nobody's", allowed));
        }
    }
    let thermometers = sensors
        .iter()
        .filter(|s| s.quantity == Quantity::Temperature);
    for sensor in thermometers {
        if limits.iter().filter(|limit| limit.is_for(sensor)).count() > LIMITS_PER_SENSOR_MAX {
            let allowed = format!("at most {LIMITS_PER_SENSOR_MAX} limits for one sensor");
            return Err(root.refuse("limit", format!("for {:?}", sensor.name.as_str()), allowed));
        }
    }
    Ok(())
}
