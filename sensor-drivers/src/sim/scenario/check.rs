//! From what is written to what is meant. Promises: a plan holds only values that make sense, and
//! a refusal names the key with its place in the file. Never: a value bent into its range.

use super::events;
use super::file::{ChipFile, ReceiverFile, RouteFile, ScenarioFile, Span, ThermometerFile};
use super::plan::{ChipPlan, PartPlan, Receiver, SourcePlan, Thermometer};
use crate::sim::Window;
use crate::sim::log::RecordedLog;
use crate::sim::profile::Profile;
use crate::sim::route::RouteSettings;
use crate::sim::ublox::Generation;

/// Ten years: far beyond any scenario, far below any overflow.
pub(super) const TIME_S_MAX: f64 = 315_360_000.0;
/// Air in a loaded box.
const HUMIDITY_PERCENT: f64 = 60.0;
/// An engine compartment at rest.
const COLD_DEG_C: f64 = 30.0;

pub(super) struct Refusal {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) allowed: &'static str,
}

pub(super) fn refusal(key: String, value: impl ToString, allowed: &'static str) -> Refusal {
    Refusal {
        key,
        value: value.to_string(),
        allowed,
    }
}

/// A number in a range; not-a-number is in none.
pub(super) fn within(
    place: &str,
    key: &str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    allowed: &'static str,
) -> Result<f64, Refusal> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(refusal(format!("{place}{key}"), value, allowed))
}

pub(super) fn deg_c(
    place: &str,
    key: &str,
    value: f64,
    thermocouple: bool,
) -> Result<f64, Refusal> {
    if thermocouple {
        return within(place, key, value, -250.0..=2000.0, "-250 to 2000 degC");
    }
    within(place, key, value, -250.0..=250.0, "-250 to 250 degC")
}

pub(super) fn time_ms(place: &str, key: &str, value_s: f64) -> Result<u64, Refusal> {
    let value_s = within(place, key, value_s, 0.0..=TIME_S_MAX, "0 to 315360000 s")?;
    Ok((value_s * 1000.0).round() as u64)
}

pub(super) fn window(place: &str, at_s: f64, for_s: f64) -> Result<Window, Refusal> {
    let from_ms = time_ms(place, "at_s", at_s)?;
    let for_s = within(
        place,
        "for_s",
        for_s,
        0.001..=TIME_S_MAX,
        "0.001 to 315360000 s",
    )?;
    Ok(Window {
        from_ms,
        to_ms: from_ms + (for_s * 1000.0).round() as u64,
    })
}

fn address(place: &str, address: u8) -> Result<u8, Refusal> {
    if (0x08..=0x77).contains(&address) {
        return Ok(address);
    }
    let key = format!("{place}address");
    Err(refusal(
        key,
        format!("{address:#04x}"),
        "a 7-bit address, 0x08 to 0x77",
    ))
}

/// What concerns the file as a whole.
pub(super) fn world(file: &ScenarioFile) -> Result<(), Refusal> {
    within(
        "",
        "speed_x",
        file.speed_x,
        0.001..=100_000.0,
        "0.001 to 100000",
    )?;
    if file.chip.is_empty() {
        return Err(refusal("chip".into(), "[]", "at least one [[chip]]"));
    }
    let address_of = |chip: &ChipFile| match chip {
        ChipFile::Tmp117(chip)
        | ChipFile::Mcp9808(chip)
        | ChipFile::Tmp102(chip)
        | ChipFile::Tmp112(chip)
        | ChipFile::Lm75(chip)
        | ChipFile::Lm75b(chip)
        | ChipFile::Tmp75(chip)
        | ChipFile::Tmp105(chip)
        | ChipFile::Sht4x(chip)
        | ChipFile::Mcp9600(chip)
        | ChipFile::Mcp9601(chip) => chip.address,
        ChipFile::Ublox(chip) | ChipFile::Mt3333(chip) | ChipFile::L76k(chip) => chip.address,
    };
    let mut taken = Vec::new();
    for (index, chip) in file.chip.iter().enumerate() {
        let address = address_of(chip);
        if taken.contains(&address) {
            let key = format!("chip[{index}].address");
            return Err(refusal(
                key,
                format!("{address:#04x}"),
                "an address of its own",
            ));
        }
        taken.push(address);
    }
    Ok(())
}

pub(super) fn thermometer(
    index: usize,
    kind: Thermometer,
    file: &ThermometerFile,
    seed: u64,
) -> Result<ChipPlan, Refusal> {
    let place = format!("chip[{index}].");
    let address = address(&place, file.address)?;
    let thermocouple = matches!(kind, Thermometer::Mcp960x(_));
    let script = events::script(&place, &file.event, kind.events())?;
    let period_s = file.period_s;
    let noise_lsb_rms = file.noise_lsb_rms;
    let profile = Profile {
        base_deg_c: deg_c(&place, "base_deg_c", file.base_deg_c, thermocouple)?,
        amplitude_deg_c: deg_c(
            &place,
            "amplitude_deg_c",
            file.amplitude_deg_c,
            thermocouple,
        )?,
        period_s: within(
            &place,
            "period_s",
            period_s,
            1.0..=TIME_S_MAX,
            "at least 1 s",
        )?,
        noise_lsb_rms: within(
            &place,
            "noise_lsb_rms",
            noise_lsb_rms,
            0.0..=10_000.0,
            "0 to 10000",
        )?,
        disturbances: script.disturbances,
        frozen: script.frozen,
        stalled: script.stalled,
        seed,
        stream: u64::from(address),
    };
    let humidity_percent = only_with(
        &place,
        "humidity_percent",
        file.humidity_percent,
        kind == Thermometer::Sht4x,
        "it together with kind sht4x only",
    )?;
    let cold_deg_c = only_with(
        &place,
        "cold_deg_c",
        file.cold_deg_c,
        thermocouple,
        "it together with kind mcp9600 or mcp9601 only",
    )?;
    let humidity_percent = humidity_percent.unwrap_or(HUMIDITY_PERCENT);
    let cold_deg_c = cold_deg_c.unwrap_or(COLD_DEG_C);
    Ok(ChipPlan {
        address,
        faults: script.faults,
        part: PartPlan::Thermometer {
            kind,
            profile,
            humidity_percent: within(
                &place,
                "humidity_percent",
                humidity_percent,
                0.0..=100.0,
                "0 to 100 %",
            )?,
            cold_deg_c: within(
                &place,
                "cold_deg_c",
                cold_deg_c,
                -40.0..=125.0,
                "-40 to 125 degC",
            )?,
            wires: script.wires,
            brown_outs_ms: script.resets_ms,
        },
    })
}

fn only_with(
    place: &str,
    key: &str,
    value: Option<f64>,
    suits: bool,
    allowed: &'static str,
) -> Result<Option<f64>, Refusal> {
    match value {
        Some(value) if !suits => Err(refusal(format!("{place}{key}"), value, allowed)),
        value => Ok(value),
    }
}

pub(super) fn receiver(
    index: usize,
    kind: Receiver,
    file: &ReceiverFile,
    log: Option<RecordedLog>,
    seed: u64,
) -> Result<ChipPlan, Refusal> {
    let place = format!("chip[{index}].");
    let address = address(&place, file.address)?;
    let known = match kind {
        Receiver::Ublox => events::Known::Ublox,
        Receiver::Mt3333 | Receiver::L76k => events::Known::Receiver,
    };
    let script = events::script(&place, &file.event, known)?;
    if let Some(generation) = file.generation.filter(|_| kind != Receiver::Ublox) {
        return Err(no_generation(
            &place,
            generation,
            "it together with kind ublox only",
        ));
    }
    let (source, generation) = match (log, &file.route) {
        (Some(log), None) => replay(&place, file, log)?,
        (None, Some(route)) => {
            if let Some(lossless) = file.replay_lossless {
                let key = format!("{place}replay_lossless");
                return Err(refusal(key, lossless, "it together with replay only"));
            }
            let settings = route_settings(&place, route, seed)?;
            (
                SourcePlan::Route(settings),
                file.generation.unwrap_or(Generation::M10),
            )
        }
        (Some(_), Some(_)) => {
            return Err(refusal(
                format!("{place}route"),
                "(table)",
                "replay or route, not both",
            ));
        }
        (None, None) => {
            return Err(refusal(
                format!("{place}replay"),
                "(absent)",
                "replay or route",
            ));
        }
    };
    Ok(ChipPlan {
        address,
        faults: script.faults,
        part: PartPlan::Receiver {
            kind,
            source,
            generation,
            resets_ms: script.resets_ms,
            filler: script.filler,
            radio: script.radio,
        },
    })
}

fn no_generation(place: &str, generation: Generation, allowed: &'static str) -> Refusal {
    let value = format!("{generation:?}").to_lowercase();
    refusal(format!("{place}generation"), value, allowed)
}

/// A recording answers as its receiver would: not at all when there is no UBX in it.
fn replay(
    place: &str,
    file: &ReceiverFile,
    log: RecordedLog,
) -> Result<(SourcePlan, Generation), Refusal> {
    if let Some(generation) = file.generation {
        return Err(no_generation(
            place,
            generation,
            "it together with route only",
        ));
    }
    let generation = if log.knows_ubx() {
        Generation::Recording
    } else {
        Generation::Mute
    };
    let lossless = file.replay_lossless.unwrap_or(true);
    Ok((SourcePlan::Replay { log, lossless }, generation))
}

fn route_settings(place: &str, file: &RouteFile, seed: u64) -> Result<RouteSettings, Refusal> {
    let place = &format!("{place}route.");
    let (lat, lon) = (file.start_lat_deg, file.start_lon_deg);
    let utc_s = file.start_utc_unix_s;
    if !(946_684_800..=4_102_444_800).contains(&utc_s) {
        let key = format!("{place}start_utc_unix_s");
        return Err(refusal(
            key,
            utc_s,
            "946684800 to 4102444800, the years 2000 to 2099",
        ));
    }
    let tunnel = |(number, span): (usize, &Span)| {
        window(&format!("{place}tunnel[{number}]."), span.at_s, span.for_s)
    };
    Ok(RouteSettings {
        start_lat_deg: within(
            place,
            "start_lat_deg",
            lat,
            -80.0..=80.0,
            "-80 to 80 degrees",
        )?,
        start_lon_deg: within(
            place,
            "start_lon_deg",
            lon,
            -179.0..=179.0,
            "-179 to 179 degrees",
        )?,
        cruise_m_s: within(
            place,
            "cruise_m_s",
            file.cruise_m_s,
            0.0..=60.0,
            "0 to 60 m/s",
        )?,
        cold_start_s: file.cold_start_s,
        tunnels: file
            .tunnel
            .iter()
            .enumerate()
            .map(tunnel)
            .collect::<Result<_, _>>()?,
        start_utc_ms: utc_s * 1000,
        seed,
    })
}
