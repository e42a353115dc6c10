//! Whether an epoch has a position: rules 1 to 3 of [`epoch`](super).
//!
//! Promises: pure. Never: a position from an epoch that failed a rule.

use super::{EpochRules, same_time_of_day};
use crate::gnss::{EpochTime, Fix, FixKind, NoFixReason};
use crate::nmea::{Gga, Rmc};
use crate::ubx::NavPvt;

/// What was said of one NMEA epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct NmeaEpoch {
    pub(super) tod_ms: Option<u32>,
    pub(super) rmc: Option<Rmc>,
    pub(super) gga: Option<Gga>,
    pub(super) gns: Option<Gga>,
    pub(super) reported: bool,
}

impl NmeaEpoch {
    pub(super) fn time(&self) -> Option<EpochTime> {
        match self.rmc.and_then(|rmc| rmc.utc_ms()) {
            Some(utc_ms) => Some(EpochTime::Utc { utc_ms }),
            None => self.tod_ms.map(|tod_ms| EpochTime::TimeOfDay { tod_ms }),
        }
    }

    pub(super) fn satellites(&self) -> Option<u8> {
        self.gga.or(self.gns)?.satellites
    }

    pub(super) fn is_at(&self, utc_ms: i64) -> bool {
        self.tod_ms
            .is_some_and(|tod_ms| same_time_of_day(i64::from(tod_ms), utc_ms))
    }
}

#[inline]
pub(super) fn judge_pvt(
    pvt: &NavPvt,
    epoch: EpochTime,
    rules: EpochRules,
) -> Result<Fix, NoFixReason> {
    let kind = match (pvt.fix_type, pvt.fix_ok, pvt.carrier_solution) {
        (0, _, _) => Err(NoFixReason::Searching),
        (5, _, _) => Err(NoFixReason::TimeOnly),
        (1..=4, false, _) => Err(NoFixReason::NotTrusted),
        (1, true, _) if !rules.accept_dead_reckoning => Err(NoFixReason::DeadReckoning),
        (1, true, _) => Ok(FixKind::DeadReckoning),
        (2..=4, true, 2) => Ok(FixKind::RtkFixed),
        (2..=4, true, 1) => Ok(FixKind::RtkFloat),
        (2, true, _) => Ok(FixKind::TwoD),
        (3, true, _) => Ok(FixKind::ThreeD),
        (4, true, _) => Ok(FixKind::GnssDeadReckoning),
        _ => Err(NoFixReason::Searching),
    };
    let position = (pvt.lat_1e7_deg, pvt.lon_1e7_deg);
    let kind = kind?;
    if pvt.invalid_llh || !is_on_earth(position) {
        return Err(NoFixReason::InvalidPosition);
    }
    Ok(Fix {
        epoch,
        lat_1e7_deg: pvt.lat_1e7_deg,
        lon_1e7_deg: pvt.lon_1e7_deg,
        // A 2D solution assumes a height; it does not measure one.
        height_mm: (kind != FixKind::TwoD).then_some(pvt.height_msl_mm),
        speed_mm_s: Some(pvt.speed_mm_s),
        course_1e5_deg: Some(pvt.course_1e5_deg.rem_euclid(36_000_000)),
        h_acc_mm: Some(pvt.h_acc_mm),
        satellites: Some(pvt.satellites),
        pdop_x100: Some(pvt.pdop_x100),
        hdop_x100: None,
        kind,
        implied_speed_mm_s: None,
    })
}

/// `gsa` is what GSA says about dimensions.
pub(super) fn judge_nmea(
    epoch: &NmeaEpoch,
    gsa: Option<u8>,
    rules: EpochRules,
) -> Result<Fix, NoFixReason> {
    let gga = epoch.gga.or(epoch.gns);
    let quality = gga.map(|gga| gga.quality);
    let Some(rmc) = epoch.rmc else {
        let silent = quality == Some(0);
        return Err(if silent {
            NoFixReason::Searching
        } else {
            NoFixReason::Incomplete
        });
    };
    if !rmc.active || quality == Some(0) || rmc.mode == Some(b'N') {
        return Err(NoFixReason::Searching);
    }
    if matches!(quality, Some(7 | 8)) || matches!(rmc.mode, Some(b'M' | b'S')) {
        return Err(NoFixReason::NotMeasured);
    }
    let dead_reckoning = quality == Some(6) || rmc.mode == Some(b'E');
    if dead_reckoning && !rules.accept_dead_reckoning {
        return Err(NoFixReason::DeadReckoning);
    }
    let position = rmc.position.filter(|position| is_on_earth(*position));
    let (lat_1e7_deg, lon_1e7_deg) = position.ok_or(NoFixReason::InvalidPosition)?;
    // A 2D solution assumes a height; it does not measure one.
    let height_mm = gga.and_then(|gga| gga.height_mm);
    let height_mm = height_mm.filter(|_| gsa != Some(2));
    let kind = match quality {
        _ if dead_reckoning => FixKind::DeadReckoning,
        Some(4) => FixKind::RtkFixed,
        Some(5) => FixKind::RtkFloat,
        _ if height_mm.is_some() || gsa == Some(3) => FixKind::ThreeD,
        _ => FixKind::TwoD,
    };
    Ok(Fix {
        epoch: epoch.time().ok_or(NoFixReason::InvalidPosition)?,
        lat_1e7_deg,
        lon_1e7_deg,
        height_mm,
        speed_mm_s: rmc.speed_mm_s,
        course_1e5_deg: rmc.course_1e5_deg,
        h_acc_mm: None,
        satellites: epoch.satellites(),
        pdop_x100: None,
        hdop_x100: gga.and_then(|gga| gga.hdop_x100),
        kind,
        implied_speed_mm_s: None,
    })
}

/// Exactly (0, 0) is what an empty structure looks like; no vehicle is there.
fn is_on_earth((lat_1e7_deg, lon_1e7_deg): (i32, i32)) -> bool {
    (lat_1e7_deg, lon_1e7_deg) != (0, 0)
        && (-900_000_000..=900_000_000).contains(&lat_1e7_deg)
        && (-1_800_000_000..=1_800_000_000).contains(&lon_1e7_deg)
}
