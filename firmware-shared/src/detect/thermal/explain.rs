//! What the known channels explain: a set-point that moved, a door that was open.
//!
//! Promises: while the value travels to another set-point nothing is judged and nothing is learned; heat
//! that came through a door is taken off before a rise is judged, by two gains that are learned. Never:
//! hides a rise that no door explains.

use serde::{Deserialize, Serialize};

use crate::detect::input::Channels;

/// The value has arrived when it was this many swings near for this many ticks.
const NEAR_SWINGS: f32 = 1.5;
const NEAR_TICKS: u16 = 30;
/// After arrival it may still creep: this share of the travel time, and half an hour.
const CREEP_SHARE: (u16, u16) = (6, 10);
const CREEP_TICKS: u16 = 30;
/// A travel that does not arrive ends here.
const TRAVEL_TICKS: u16 = 720;
/// What is left of the heat after a tick: of the air in 14 minutes, of the load in 40.
const KEEP_AIR: f32 = 0.93;
const KEEP_LOAD: f32 = 0.975;
/// Learning rate of the gains, and how much one tick may teach, swings.
const RATE: f32 = 0.005;
const CLIP_SWINGS: f32 = 3.0;

/// The travel to another set-point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Travel {
    ticks: u16,
    near: u16,
    creep: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Explain {
    set_point: Option<f64>,
    travel: Option<Travel>,
    air: f32,
    load: f32,
    air_gain: f32,
    load_gain: f32,
}

impl Explain {
    pub(super) const fn new() -> Self {
        Self {
            set_point: None,
            travel: None,
            air: 0.0,
            load: 0.0,
            air_gain: 0.0,
            load_gain: 0.0,
        }
    }

    /// Whether the value is on its way to another set-point.
    pub(super) fn travels(&self) -> bool {
        self.travel.is_some()
    }

    /// Takes the channels in; `above` is the distance to the resting level. True when a travel ended.
    pub(super) fn tick(&mut self, channels: &Channels, above: f32, swing: f32) -> bool {
        let open = f32::from(u8::from(
            channels.door == Some(true) || channels.defrost == Some(true),
        ));
        self.air = self.air * KEEP_AIR + open;
        self.load = self.load * KEEP_LOAD + open;
        if let (Some(old), Some(new)) = (self.set_point, channels.set_point)
            && old != new
        {
            self.travel = Some(Travel {
                ticks: 0,
                near: 0,
                creep: None,
            });
        }
        self.set_point = channels.set_point.or(self.set_point);
        let Some(travel) = &mut self.travel else {
            return false;
        };
        if travel.arrives(above.abs() < NEAR_SWINGS * swing) {
            self.travel = None;
            return true;
        }
        false
    }

    /// Heat that doors explain, in the unit of the value; learns from what is seen.
    pub(super) fn heat(&mut self, above: f32, swing: f32) -> f32 {
        if self.load > 1.0 && self.travel.is_none() {
            let error = above - self.air_gain * self.air - self.load_gain * self.load;
            let error = error.clamp(-CLIP_SWINGS * swing, CLIP_SWINGS * swing);
            let power = 1.0 + self.air * self.air + self.load * self.load;
            let learn = |gain: f32, heat: f32| (gain + RATE * error * heat / power).max(0.0);
            self.air_gain = learn(self.air_gain, self.air);
            self.load_gain = learn(self.load_gain, self.load);
        }
        self.explained()
    }

    /// Heat that doors explain, in the unit of the value.
    pub(super) fn explained(&self) -> f32 {
        self.air_gain * self.air + self.load_gain * self.load
    }
}

impl Travel {
    fn arrives(&mut self, near: bool) -> bool {
        self.ticks += 1;
        self.near = if near { self.near + 1 } else { 0 };
        if self.creep.is_none() && self.near >= NEAR_TICKS {
            let (share, of) = CREEP_SHARE;
            self.creep = Some(self.ticks * share / of + CREEP_TICKS);
        }
        if let Some(left) = &mut self.creep {
            *left = left.saturating_sub(1);
        }
        self.creep == Some(0) || self.ticks >= TRAVEL_TICKS
    }
}
