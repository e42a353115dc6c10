//! From the events of a chip to what its simulation needs. Promises: an event that the chip does
//! not know is refused with those it knows. Never: an event dropped.

use super::check::{Refusal, TIME_S_MAX, deg_c, refusal, time_ms, window, within};
use super::file::EventFile;
use crate::sim::Window;
use crate::sim::fault::Fault;
use crate::sim::mcp960x::Wires;
use crate::sim::profile::Disturbance;
use crate::sim::ublox::Radio;

/// Which events a chip knows, beside those that every chip does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Thermometer,
    Thermocouple,
    Receiver,
    Ublox,
}

impl Known {
    fn events(self) -> &'static str {
        match self {
            Self::Thermometer => {
                "runaway, door, freeze, stall, brownout, noack, hang, short, biterror, stretch, \
                 wrongid or unplug"
            }
            Self::Thermocouple => {
                "runaway, door, freeze, stall, brownout, wireopen, wireshort, noack, hang, short, \
                 biterror, stretch, wrongid or unplug"
            }
            Self::Receiver => {
                "reset, filler, noack, hang, short, biterror, stretch, wrongid or unplug"
            }
            Self::Ublox => {
                "reset, filler, antennaopen, jamming, spoofing, noack, hang, short, biterror, \
                 stretch, wrongid or unplug"
            }
        }
    }
}

/// The events, sorted by what they concern. Times count from the scenario's start.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) faults: Vec<(Window, Fault)>,
    pub(super) disturbances: Vec<Disturbance>,
    pub(super) frozen: Vec<Window>,
    pub(super) stalled: Vec<Window>,
    pub(super) filler: Vec<Window>,
    pub(super) wires: Wires,
    pub(super) radio: Radio,
    /// Back to the defaults, by brown-out or reset.
    pub(super) resets_ms: Vec<u64>,
}

pub(super) fn script(place: &str, events: &[EventFile], known: Known) -> Result<Script, Refusal> {
    let mut script = Script::default();
    for (number, event) in events.iter().enumerate() {
        let place = format!("{place}event[{number}].");
        if !script.take_fault(&place, *event)? && !script.take_own(&place, *event, known)? {
            let kind = format!("{event:?}").to_lowercase();
            let kind = kind
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_string();
            return Err(refusal(format!("{place}kind"), kind, known.events()));
        }
    }
    Ok(script)
}

impl Script {
    /// What any chip can suffer from; `false` when it is something else.
    fn take_fault(&mut self, place: &str, event: EventFile) -> Result<bool, Refusal> {
        let (at_s, for_s, fault) = match event {
            EventFile::Noack { at_s, for_s } => (at_s, for_s, Fault::NoAck),
            EventFile::Hang { at_s, for_s } => (at_s, for_s, Fault::Hung),
            EventFile::Short { at_s, for_s } => (at_s, for_s, Fault::ShortRead),
            EventFile::Wrongid { at_s, for_s } => (at_s, for_s, Fault::WrongPart),
            EventFile::Biterror {
                at_s,
                for_s,
                one_in,
            } => (
                at_s,
                for_s,
                Fault::BitError {
                    one_in: one_or_more(place, one_in)?,
                },
            ),
            EventFile::Stretch {
                at_s,
                for_s,
                one_in,
            } => {
                let one_in = one_or_more(place, one_in)?;
                (at_s, for_s, Fault::StretchGarbage { one_in })
            }
            // Whoever is plugged in again starts from the defaults.
            EventFile::Unplug { at_s, for_s } => {
                self.resets_ms.push(window(place, at_s, for_s)?.to_ms);
                (at_s, for_s, Fault::NoAck)
            }
            _ => return Ok(false),
        };
        self.faults.push((window(place, at_s, for_s)?, fault));
        Ok(true)
    }

    /// What only some chips know; `false` when this one does not.
    fn take_own(&mut self, place: &str, event: EventFile, known: Known) -> Result<bool, Refusal> {
        let thermocouple = known == Known::Thermocouple;
        match (event, known) {
            (EventFile::Reset { at_s }, Known::Receiver | Known::Ublox)
            | (EventFile::Brownout { at_s }, Known::Thermometer | Known::Thermocouple) => {
                self.resets_ms.push(time_ms(place, "at_s", at_s)?);
            }
            (EventFile::Filler { at_s, for_s }, Known::Receiver | Known::Ublox) => {
                self.filler.push(window(place, at_s, for_s)?);
            }
            (EventFile::Antennaopen { at_s, for_s }, Known::Ublox) => {
                self.radio.antenna_open.push(window(place, at_s, for_s)?);
            }
            (EventFile::Jamming { at_s, for_s }, Known::Ublox) => {
                self.radio.jammed.push(window(place, at_s, for_s)?);
            }
            (EventFile::Spoofing { at_s, for_s }, Known::Ublox) => {
                self.radio.spoofed.push(window(place, at_s, for_s)?);
            }
            (_, Known::Receiver | Known::Ublox) => return Ok(false),
            (EventFile::Wireopen { at_s, for_s }, Known::Thermocouple) => {
                self.wires.open.push(window(place, at_s, for_s)?);
            }
            (EventFile::Wireshort { at_s, for_s }, Known::Thermocouple) => {
                self.wires.short.push(window(place, at_s, for_s)?);
            }
            (EventFile::Freeze { at_s, for_s }, _) => {
                self.frozen.push(window(place, at_s, for_s)?);
            }
            (EventFile::Stall { at_s, for_s }, _) => {
                self.stalled.push(window(place, at_s, for_s)?);
            }
            (
                EventFile::Runaway {
                    at_s,
                    rate_deg_c_per_min,
                    until_s,
                },
                _,
            ) => {
                time_ms(place, "at_s", at_s)?;
                deg_c(
                    place,
                    "rate_deg_c_per_min",
                    rate_deg_c_per_min,
                    thermocouple,
                )?;
                within(
                    place,
                    "until_s",
                    until_s,
                    at_s..=TIME_S_MAX,
                    "a time after at_s",
                )?;
                self.disturbances.push(Disturbance::Runaway {
                    at_s,
                    rate_deg_c_per_min,
                    until_s,
                });
            }
            (
                EventFile::Door {
                    at_s,
                    for_s,
                    rise_deg_c,
                },
                _,
            ) => {
                window(place, at_s, for_s)?;
                deg_c(place, "rise_deg_c", rise_deg_c, thermocouple)?;
                self.disturbances.push(Disturbance::Door {
                    at_s,
                    for_s,
                    rise_deg_c,
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn one_or_more(place: &str, one_in: u32) -> Result<u32, Refusal> {
    if one_in == 0 {
        return Err(refusal(format!("{place}one_in"), one_in, "1 or more"));
    }
    Ok(one_in)
}
