//! The scenario file as it is written. Promises: every key that the format knows, and no other;
//! defaults stand here, beside their fields. Never: a meaning; that is `check`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::sim::ublox::Generation;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    #[serde(default = "real_time")]
    pub(super) speed_x: f64,
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) truth_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) chip: Vec<ChipFile>,
}

fn real_time() -> f64 {
    1.0
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum ChipFile {
    Tmp117(ThermometerFile),
    Mcp9808(ThermometerFile),
    Tmp102(ThermometerFile),
    Tmp112(ThermometerFile),
    Lm75(ThermometerFile),
    Lm75b(ThermometerFile),
    Tmp75(ThermometerFile),
    Tmp105(ThermometerFile),
    Sht4x(ThermometerFile),
    Mcp9600(ThermometerFile),
    Mcp9601(ThermometerFile),
    Ublox(ReceiverFile),
    Mt3333(ReceiverFile),
    L76k(ReceiverFile),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThermometerFile {
    pub(super) address: u8,
    pub(super) base_deg_c: f64,
    #[serde(default)]
    pub(super) amplitude_deg_c: f64,
    /// Half an hour, as cooling units do it.
    #[serde(default = "half_an_hour_s")]
    pub(super) period_s: f64,
    #[serde(default)]
    pub(super) noise_lsb_rms: f64,
    /// Of an `sht4x` only.
    pub(super) humidity_percent: Option<f64>,
    /// Of an `mcp9600` or `mcp9601` only.
    pub(super) cold_deg_c: Option<f64>,
    #[serde(default)]
    pub(super) event: Vec<EventFile>,
}

fn half_an_hour_s() -> f64 {
    1800.0
}

/// What happens to a chip. `check` says which chip knows which.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum EventFile {
    Runaway {
        at_s: f64,
        rate_deg_c_per_min: f64,
        until_s: f64,
    },
    Door {
        at_s: f64,
        for_s: f64,
        rise_deg_c: f64,
    },
    Freeze {
        at_s: f64,
        for_s: f64,
    },
    Stall {
        at_s: f64,
        for_s: f64,
    },
    Brownout {
        at_s: f64,
    },
    Reset {
        at_s: f64,
    },
    Noack {
        at_s: f64,
        for_s: f64,
    },
    Hang {
        at_s: f64,
        for_s: f64,
    },
    Short {
        at_s: f64,
        for_s: f64,
    },
    Biterror {
        at_s: f64,
        for_s: f64,
        #[serde(default = "each")]
        one_in: u32,
    },
    Stretch {
        at_s: f64,
        for_s: f64,
        #[serde(default = "each")]
        one_in: u32,
    },
    Wrongid {
        at_s: f64,
        for_s: f64,
    },
    Unplug {
        at_s: f64,
        for_s: f64,
    },
    Wireopen {
        at_s: f64,
        for_s: f64,
    },
    Wireshort {
        at_s: f64,
        for_s: f64,
    },
    Filler {
        at_s: f64,
        for_s: f64,
    },
    Antennaopen {
        at_s: f64,
        for_s: f64,
    },
    Jamming {
        at_s: f64,
        for_s: f64,
    },
    Spoofing {
        at_s: f64,
        for_s: f64,
    },
}

fn each() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiverFile {
    pub(super) address: u8,
    pub(super) replay: Option<PathBuf>,
    pub(super) replay_lossless: Option<bool>,
    pub(super) route: Option<RouteFile>,
    /// Of a `ublox` only.
    pub(super) generation: Option<Generation>,
    #[serde(default)]
    pub(super) event: Vec<EventFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteFile {
    pub(super) start_lat_deg: f64,
    pub(super) start_lon_deg: f64,
    /// 79 km/h, a truck on the road.
    #[serde(default = "truck_m_s")]
    pub(super) cruise_m_s: f64,
    #[serde(default)]
    pub(super) cold_start_s: u64,
    /// Behind every build date, so that receiver time is believed.
    #[serde(default = "monday_morning_unix_s")]
    pub(super) start_utc_unix_s: i64,
    #[serde(default)]
    pub(super) tunnel: Vec<Span>,
}

fn truck_m_s() -> f64 {
    22.0
}

/// 2027-01-04T08:00:00Z
fn monday_morning_unix_s() -> i64 {
    1_799_049_600
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    pub(super) at_s: f64,
    pub(super) for_s: f64,
}
