//! What the known channels explain: a set-point that moved, a door that was open.
//!
//! Promises: while the value travels to another set-point nothing is judged and nothing is learned, until the rest
//! of the way can be told and is taken off; heat that came through a door is taken off before a rise is judged, by
//! two gains that are learned. Never: hides a rise that no door explains.

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
/// Its way is told from what it was so many ticks after the change on, when this share of it is left.
const FROM_TICKS: u16 = 3;
const TOLD_SHARE: f32 = 0.125;
/// It is judged on before it arrives when it was where it was told to be for so many ticks, and fewer than so many
/// swings are left; the pace of the rest is within these ticks.
const TOLD_TICKS: u16 = 30;
const TOLD_SWINGS: f32 = 8.0;
const TOLD_PACE: (f32, f32) = (2.0, 400.0);
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
    /// Where it came from, and the sum of all that was left since then.
    from: f32,
    sum: f32,
    as_told: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Explain {
    set_point: Option<f64>,
    travel: Option<Travel>,
    /// What of a travel is left though it is over, and the share that stays from tick to tick.
    left: f32,
    keep: f32,
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
            left: 0.0,
            keep: 0.0,
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

    /// What the last travel still adds to the value.
    pub(super) fn left(&self) -> f32 {
        self.left
    }

    /// Takes the channels in; `above` is the distance to the resting level. True when a travel ended.
    pub(super) fn tick(&mut self, channels: &Channels, above: f32, swing: f32) -> bool {
        let open = f32::from(u8::from(
            channels.door == Some(true) || channels.defrost == Some(true),
        ));
        self.air = self.air * KEEP_AIR + open;
        self.load = self.load * KEEP_LOAD + open;
        self.left *= self.keep;
        if let (Some(old), Some(new)) = (self.set_point, channels.set_point)
            && old != new
        {
            self.travel = Some(Travel::new());
            self.left = 0.0;
        }
        self.set_point = channels.set_point.or(self.set_point);
        let Some(travel) = &mut self.travel else {
            return false;
        };
        let near = NEAR_SWINGS * swing;
        if let Some((left, keep)) = travel.told(above, near)
            && left.abs() < TOLD_SWINGS * swing
        {
            (self.left, self.keep) = (left, keep);
            self.travel = None;
            return true;
        }
        if travel.arrives(above.abs() < near) {
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
    fn new() -> Self {
        Self {
            ticks: 0,
            near: 0,
            creep: None,
            from: 0.0,
            sum: 0.0,
            as_told: 0,
        }
    }

    /// What is left of the way, and the share of it that stays from tick to tick, once the value has followed that
    /// for a while. A space comes to another temperature by a share of what is left in each tick; the share is
    /// told by the sum of all that was left on the way, which an open door hardly moves.
    fn told(&mut self, above: f32, near: f32) -> Option<(f32, f32)> {
        if self.ticks < FROM_TICKS {
            self.from = above;
            return None;
        }
        self.sum += above;
        let gone = self.from - above;
        let arriving = above.abs() < TOLD_SHARE * self.from.abs() && gone * self.sum > 0.0;
        if !arriving {
            self.as_told = 0;
            return None;
        }
        let (quick, slow) = TOLD_PACE;
        let pace = (self.sum / gone).clamp(quick, slow);
        let left = self.from * libm::expf(-f32::from(self.ticks + 1 - FROM_TICKS) / pace);
        self.as_told = if (above - left).abs() < near {
            self.as_told + 1
        } else {
            0
        };
        (self.as_told >= TOLD_TICKS).then(|| (left, libm::expf(-1.0 / pace)))
    }

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
