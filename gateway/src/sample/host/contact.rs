//! A contact at a line of a GPIO chip: door, ignition, power-good.
//!
//! Promises: every change that outlasts the debounce time is told, in order, as soon as the kernel tells
//! it; an unchanged level is told again once a period, so that silence means something. Never: an output.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use firmware_shared::reading::Value;
use gpiocdev::Request;
use gpiocdev::line;
use serde::Deserialize;

use super::super::source::{Failure, Heard, Source};
use super::{EIO, ENODEV, failure, failure_of, misconfigured};
use crate::config::{Bias, GpioChip, HostSource};

const CONSUMER: &str = "fleet-gateway";
/// Changes in one turn: as many as the kernel keeps for a line.
const EDGES_MAX: usize = 16;
/// The file of simulated inputs does not name the line, or cannot be read as one.
const NO_SUCH_LINE: i32 = 1;

/// A digital input, active or not.
trait Line: std::fmt::Debug + Send {
    fn is_active(&mut self, now_ms: u64) -> Result<bool, Failure>;
    /// The next change that was not told.
    fn change(&mut self, now_ms: u64) -> Result<Option<bool>, Failure>;
    /// Waits for a change, if it can.
    fn wait(&mut self, at_most: Duration) -> Option<bool>;
    /// When it will change, if it knows.
    fn next_ms(&self) -> Option<u64>;
}

#[derive(Debug)]
pub(in super::super) struct Contact {
    source: HostSource,
    began_ms: u64,
    line: Option<Box<dyn Line>>,
    is_told: bool,
}

impl Contact {
    pub(super) fn new(source: &HostSource, now_ms: u64) -> Self {
        Self {
            source: source.clone(),
            began_ms: now_ms,
            line: None,
            is_told: false,
        }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.line.as_ref()?.next_ms()
    }
}

impl Source for Contact {
    fn start(&mut self, now_ms: u64) -> Result<u64, Failure> {
        self.line = None;
        self.is_told = false;
        let HostSource::Gpio { chip, line, .. } = &self.source else {
            return Err(failure_of(ENODEV));
        };
        self.line = Some(match chip {
            GpioChip::Device(path) => Box::new(KernelLine::request(path, &self.source)?),
            GpioChip::Scenario(path) => {
                Box::new(SimLine::read(path, *line, self.began_ms, now_ms)?)
            }
        });
        Ok(0)
    }

    fn fetch(&mut self, now_ms: u64, heard: &mut Vec<Heard>) -> Result<(), Failure> {
        let line = self.line.as_mut().ok_or_else(|| failure_of(ENODEV))?;
        let mut changes = 0;
        while changes < EDGES_MAX
            && let Some(active) = line.change(now_ms)?
        {
            changes += 1;
            heard.push(Heard::Value(Value::State(u16::from(active))));
        }
        if changes == 0 || !self.is_told {
            let active = line.is_active(now_ms)?;
            heard.push(Heard::Value(Value::State(u16::from(active))));
        }
        self.is_told = true;
        Ok(())
    }

    fn silent_ms(&self, period_ms: u64) -> u64 {
        period_ms.saturating_mul(3)
    }

    fn wait(&mut self, at_most: Duration) -> Option<bool> {
        self.line.as_mut()?.wait(at_most)
    }
}

/// A line of the kernel.
#[derive(Debug)]
struct KernelLine {
    request: Request,
    offset: u32,
}

impl KernelLine {
    fn request(path: &Path, source: &HostSource) -> Result<Self, Failure> {
        let HostSource::Gpio {
            line: offset,
            active_low,
            bias,
            debounce_ms,
            ..
        } = source
        else {
            return Err(failure_of(ENODEV));
        };
        // A chip that is not there would be told without its number.
        std::fs::metadata(path).map_err(|error| failure(&error))?;
        let mut builder = Request::builder();
        builder
            .on_chip(path)
            .with_consumer(CONSUMER)
            .with_line(*offset)
            .as_input()
            .with_edge_detection(line::EdgeDetection::BothEdges);
        if *active_low {
            builder.as_active_low();
        }
        match bias {
            Bias::AsIs => {}
            Bias::Disabled => drop(builder.with_bias(line::Bias::Disabled)),
            Bias::PullUp => drop(builder.with_bias(line::Bias::PullUp)),
            Bias::PullDown => drop(builder.with_bias(line::Bias::PullDown)),
        }
        if *debounce_ms > 0 {
            builder.with_debounce_period(Duration::from_millis(u64::from(*debounce_ms)));
        }
        let request = builder.request().map_err(|error| gpio_failure(&error))?;
        Ok(Self {
            request,
            offset: *offset,
        })
    }
}

impl Line for KernelLine {
    fn is_active(&mut self, _now_ms: u64) -> Result<bool, Failure> {
        let value = self.request.value(self.offset);
        value
            .map(|value| value == line::Value::Active)
            .map_err(|error| gpio_failure(&error))
    }

    fn change(&mut self, _now_ms: u64) -> Result<Option<bool>, Failure> {
        let error = |error: gpiocdev::Error| gpio_failure(&error);
        if !self.request.has_edge_event().map_err(error)? {
            return Ok(None);
        }
        let event = self.request.read_edge_event().map_err(error)?;
        Ok(Some(event.kind == line::EdgeKind::Rising))
    }

    fn wait(&mut self, at_most: Duration) -> Option<bool> {
        // An error shows when the line is read.
        Some(self.request.wait_edge_event(at_most).unwrap_or(true))
    }

    fn next_ms(&self) -> Option<u64> {
        None
    }
}

fn gpio_failure(error: &gpiocdev::Error) -> Failure {
    let number = match error {
        gpiocdev::Error::Os(errno) => errno.0,
        gpiocdev::Error::Uapi(_, gpiocdev_uapi_error) => uapi_number(gpiocdev_uapi_error),
        _ => return misconfigured(0),
    };
    failure_of(number)
}

fn uapi_number(error: &(dyn std::error::Error + 'static)) -> i32 {
    let text = error.to_string();
    // The library keeps the number to itself but prints it.
    text.rsplit_once("os error ")
        .and_then(|(_, number)| number.trim_end_matches(')').parse().ok())
        .unwrap_or(EIO)
}

/// A simulated line.
///
/// ```toml
/// [[line]]
/// offset = 17
/// active = true                  # at the start; default false
/// toggle_at_s = [30.0, 31.5]     # seconds since the start of the gateway, rising
/// ```
#[derive(Debug)]
struct SimLine {
    active: bool,
    toggles_ms: VecDeque<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputsFile {
    line: Vec<LineFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineFile {
    offset: u32,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    toggle_at_s: Vec<f64>,
}

/// What is wrong with a file of simulated inputs for a line of it.
pub(crate) fn check_inputs(path: &Path, offset: u32) -> Result<(), String> {
    find_line(path, offset).map(drop)
}

fn find_line(path: &Path, offset: u32) -> Result<LineFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: InputsFile = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    let line = file.line.into_iter().find(|line| line.offset == offset);
    let line = line.ok_or_else(|| format!("no [[line]] with offset = {offset}"))?;
    let rises = line.toggle_at_s.windows(2).all(|pair| pair.is_sorted());
    let range = line.toggle_at_s.iter().all(|at| (0.0..=1e9).contains(at));
    if rises && range {
        Ok(line)
    } else {
        Err("toggle_at_s must rise from 0 to 1000000000".to_owned())
    }
}

impl SimLine {
    fn read(path: &Path, offset: u32, began_ms: u64, now_ms: u64) -> Result<Self, Failure> {
        let line = find_line(path, offset).map_err(|_| misconfigured(NO_SUCH_LINE))?;
        let stamp = |at_s: &f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: at most 1e12"
            )]
            let after_ms = (at_s * 1000.0).round() as u64;
            began_ms.saturating_add(after_ms)
        };
        let mut line = Self {
            active: line.active,
            toggles_ms: line.toggle_at_s.iter().map(stamp).collect(),
        };
        while line.toggle(now_ms).is_some() {}
        Ok(line)
    }

    fn toggle(&mut self, now_ms: u64) -> Option<bool> {
        self.toggles_ms.pop_front_if(|at_ms| *at_ms <= now_ms)?;
        self.active = !self.active;
        Some(self.active)
    }
}

impl Line for SimLine {
    fn is_active(&mut self, _now_ms: u64) -> Result<bool, Failure> {
        Ok(self.active)
    }

    fn change(&mut self, now_ms: u64) -> Result<Option<bool>, Failure> {
        Ok(self.toggle(now_ms))
    }

    fn wait(&mut self, _at_most: Duration) -> Option<bool> {
        None
    }

    fn next_ms(&self) -> Option<u64> {
        self.toggles_ms.front().copied()
    }
}
