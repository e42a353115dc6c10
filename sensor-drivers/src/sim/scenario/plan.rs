//! What a chip of a scenario will be. Promises: a plan holds only what `check` has let through;
//! its times count from the scenario's start. Never: a file.

use super::events;
use crate::lm75::Lm75Part;
use crate::mcp960x::Mcp960xPart;
use crate::sim::Window;
use crate::sim::bus::SimChip;
use crate::sim::fault::Fault;
use crate::sim::lm75::SimLm75;
use crate::sim::log::RecordedLog;
use crate::sim::mcp960x::{SimMcp960x, Wires};
use crate::sim::mcp9808::SimMcp9808;
use crate::sim::mt3333::SimMt3333;
use crate::sim::profile::Profile;
use crate::sim::route::{Route, RouteSettings};
use crate::sim::sht4x::SimSht4x;
use crate::sim::tmp102::SimTmp102;
use crate::sim::tmp117::SimTmp117;
use crate::sim::truth::TruthPast;
use crate::sim::ublox::{Generation, Radio, SimUblox, Source};

#[derive(Debug, Clone)]
pub(super) struct ChipPlan {
    pub(super) address: u8,
    pub(super) faults: Vec<(Window, Fault)>,
    pub(super) part: PartPlan,
}

/// Which thermometer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thermometer {
    Tmp117,
    Mcp9808,
    Tmp102,
    Lm75(Lm75Part),
    Sht4x,
    Mcp960x(Mcp960xPart),
}

impl Thermometer {
    pub(super) fn events(self) -> events::Known {
        match self {
            Self::Mcp960x(_) => events::Known::Thermocouple,
            _ => events::Known::Thermometer,
        }
    }
}

/// Which receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiver {
    Ublox,
    Mt3333,
    L76k,
}

#[derive(Debug, Clone)]
pub(super) enum PartPlan {
    Thermometer {
        kind: Thermometer,
        profile: Profile,
        humidity_percent: f64,
        cold_deg_c: f64,
        wires: Wires,
        brown_outs_ms: Vec<u64>,
    },
    Receiver {
        kind: Receiver,
        source: SourcePlan,
        generation: Generation,
        resets_ms: Vec<u64>,
        filler: Vec<Window>,
        radio: Radio,
    },
}

#[derive(Debug, Clone)]
pub(super) enum SourcePlan {
    Replay { log: RecordedLog, lossless: bool },
    Route(RouteSettings),
}

impl ChipPlan {
    pub(super) fn chip(
        &self,
        t0_ms: u64,
        now_ms: u64,
        past: Option<&TruthPast>,
    ) -> Box<dyn SimChip> {
        let all_later = |times_ms: &[u64]| times_ms.iter().map(|ms| t0_ms + ms).collect();
        let windows_later = |windows: &[Window]| -> Vec<Window> {
            windows.iter().map(|window| later(*window, t0_ms)).collect()
        };
        match &self.part {
            PartPlan::Thermometer {
                kind,
                profile,
                humidity_percent,
                cold_deg_c,
                wires,
                brown_outs_ms,
            } => {
                let (address, profile) = (self.address, profile.clone());
                let resets_ms: Vec<u64> = all_later(brown_outs_ms);
                match *kind {
                    Thermometer::Tmp117 => {
                        Box::new(SimTmp117::new(address, profile, t0_ms, now_ms, resets_ms))
                    }
                    Thermometer::Mcp9808 => {
                        Box::new(SimMcp9808::new(address, profile, t0_ms, now_ms, resets_ms))
                    }
                    Thermometer::Tmp102 => {
                        Box::new(SimTmp102::new(address, profile, t0_ms, now_ms, resets_ms))
                    }
                    Thermometer::Lm75(part) => Box::new(SimLm75::new(
                        address, part, profile, t0_ms, now_ms, resets_ms,
                    )),
                    Thermometer::Sht4x => Box::new(SimSht4x::new(
                        address,
                        profile,
                        *humidity_percent,
                        t0_ms,
                        now_ms,
                        resets_ms,
                    )),
                    Thermometer::Mcp960x(part) => {
                        let wires = Wires {
                            open: windows_later(&wires.open),
                            short: windows_later(&wires.short),
                        };
                        let times = [t0_ms, now_ms];
                        let cold = *cold_deg_c;
                        Box::new(SimMcp960x::new(
                            address, part, profile, cold, wires, times, resets_ms,
                        ))
                    }
                }
            }
            PartPlan::Receiver {
                kind,
                source,
                generation,
                resets_ms,
                filler,
                radio,
            } => {
                let source = match source {
                    SourcePlan::Replay { log, lossless } => Source::Replay {
                        log: log.clone(),
                        lossless: *lossless,
                    },
                    SourcePlan::Route(settings) => Source::Route(Route::new(settings.clone())),
                };
                let (address, times) = (self.address, [t0_ms, now_ms]);
                let past = past.and_then(|past| past.receiver(address));
                let (resets_ms, filler) = (all_later(resets_ms), windows_later(filler));
                if *kind != Receiver::Ublox {
                    let casic = *kind == Receiver::L76k;
                    let chip = SimMt3333::new(address, source, casic, times, past, resets_ms);
                    return Box::new(chip.with_filler(filler, address));
                }
                let chip =
                    SimUblox::new(address, source, *generation, t0_ms, now_ms, past, resets_ms);
                Box::new(chip.with_filler(filler, address).with_radio(Radio {
                    antenna_open: windows_later(&radio.antenna_open),
                    jammed: windows_later(&radio.jammed),
                    spoofed: windows_later(&radio.spoofed),
                }))
            }
        }
    }
}

pub(super) fn later(window: Window, by_ms: u64) -> Window {
    Window {
        from_ms: window.from_ms + by_ms,
        to_ms: window.to_ms + by_ms,
    }
}
