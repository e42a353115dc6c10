//! Refrigerated trucks with faults, made up from a seed: one reading a minute for twenty days.
//!
//! Promises: ordinary life has a compressor, doors, defrosts, loading with the unit off and weather; each truck
//! exists twice, clean and with seven faults, two days apart. Never: the same truck for two seeds.

use std::f64::consts::TAU;

use firmware_shared::detect::AnomalyKind;

pub(crate) const DAY: usize = 1440;
const DAYS: usize = 20;
/// Never scored.
pub(crate) const WARM_UP: usize = 2 * DAY;
/// What is injected, and the minutes after which it is too late to find it.
pub(crate) const DEADLINES: [(AnomalyKind, usize); 7] = [
    (AnomalyKind::Spike, 1),
    (AnomalyKind::Step, 10),
    (AnomalyKind::Noise, 15),
    (AnomalyKind::Stuck, 60),
    (AnomalyKind::Runaway, 60),
    (AnomalyKind::DoorLeftOpen, 60),
    (AnomalyKind::Drift, 720),
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: AnomalyKind,
    pub(crate) at: usize,
    pub(crate) last: usize,
}

pub(crate) struct Truck {
    pub(crate) clean: Vec<f64>,
    pub(crate) faulty: Vec<f64>,
    pub(crate) set_points: Vec<f64>,
    pub(crate) doors: Vec<bool>,
    pub(crate) faults: Vec<Fault>,
}

/// A small generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// From `low` to `high`, both included.
    fn whole(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    fn gauss(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * self.between(1e-12, 1.0).ln()).sqrt();
        sigma * radius * (TAU * self.between(0.0, 1.0)).cos()
    }

    fn sign(&mut self) -> f64 {
        if self.next() & 1 == 0 { 1.0 } else { -1.0 }
    }
}

/// Thirty trucks from a seed; with `channels` set-points move and are known, and so are doors.
pub(crate) fn fleet(seed: u64, trucks: usize, channels: bool) -> Vec<Truck> {
    (0..trucks as u64)
        .map(|number| truck(seed * 100_003 + number, channels))
        .collect()
}

fn truck(seed: u64, channels: bool) -> Truck {
    let mut random = Random(seed ^ 0x5EED_F1EE_7000_0000);
    let (mut values, set_points, doors) = ordinary_life(&mut random, channels);
    let clean = values.iter().copied().map(rounded).collect();
    let mut kinds = DEADLINES.map(|(kind, _)| kind);
    for place in (1..kinds.len()).rev() {
        kinds.swap(place, random.whole(0, place));
    }
    let faults = (4..).step_by(2).zip(kinds).map(|(day, kind)| {
        let at = day * DAY + random.whole(0, 1300);
        let last = inject(&mut values, kind, at, &mut random);
        Fault { kind, at, last }
    });
    let faults = faults.collect();
    Truck {
        clean,
        faulty: values.into_iter().map(rounded).collect(),
        set_points,
        doors,
        faults,
    }
}

/// Steps of 1/16 degree.
fn rounded(value: f64) -> f64 {
    (value * 16.0).round() / 16.0
}

fn ordinary_life(random: &mut Random, channels: bool) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
    let set_point = if random.sign() > 0.0 { -18.0 } else { 4.0 };
    let (mut target, mut cargo) = (set_point, set_point);
    let defrost_every = DAY as f64 / random.whole(4, 8) as f64;
    let (defrost_length, defrost_rise) = (random.whole(18, 45) as f64, random.between(2.0, 6.0));
    let mut next_defrost = random.between(0.0, defrost_every);
    let loading: Vec<Option<usize>> = (0..DAYS)
        .map(|day| {
            let start = random.whole(270, 420);
            (day % 7 < 6 && random.between(0.0, 1.0) < 0.6).then_some(start)
        })
        .collect();
    let changes: Vec<bool> = (0..DAYS)
        .map(|day| channels && day >= 5 && random.between(0.0, 1.0) < 0.25)
        .collect();
    let (period, swing) = (random.between(18.0, 45.0), random.between(0.4, 1.2));
    let (outside, outside_swing) = (random.between(8.0, 28.0), random.between(3.0, 9.0));
    let shift = random.whole(300, 480);
    let (mut defrost, mut load, mut heat, mut wander, mut door) = (0.0, 0.0, 0.0, 0.0, 0_usize);
    let (mut values, mut points, mut doors) = (Vec::new(), Vec::new(), Vec::new());
    for minute in 0..DAYS * DAY {
        let (of_day, day, now) = (minute % DAY, minute / DAY, minute as f64);
        if of_day == 240 && changes[day] {
            target = if target < 0.0 { 4.0 } else { -18.0 };
        }
        cargo += (target - cargo) / 60.0;
        if now >= next_defrost + defrost_length {
            next_defrost += defrost_every * random.between(0.85, 1.15);
        }
        let heating = (next_defrost..next_defrost + defrost_length).contains(&now);
        defrost += if heating {
            (defrost_rise - defrost) / 12.0
        } else {
            -defrost / 15.0
        };
        let unit_off = loading[day].is_some_and(|start| (start..start + 35).contains(&of_day));
        let ambient = outside + outside_swing * (TAU * (now - 540.0) / DAY as f64).sin();
        let mut saw = swing * (4.0 * ((now / period).fract() - 0.5).abs() - 1.0);
        let working = shift < of_day && of_day < shift + 600 && day % 7 < 6;
        if door == 0 && working && random.between(0.0, 1.0) < 1.0 / 120.0 {
            door = random.whole(3, 15);
        }
        if door > 0 {
            heat += 0.0175 * (ambient - set_point) * random.between(0.6, 1.2);
            door -= 1;
        }
        heat *= 0.93;
        load += if unit_off {
            0.006 * (ambient - cargo)
        } else {
            -load / 40.0
        };
        wander = 0.8 * wander + random.gauss(0.05);
        if heating || unit_off {
            saw *= 0.2;
        }
        let weather = 0.01 * (ambient - cargo);
        values.push(cargo + saw + heat + defrost + load + weather + wander + random.gauss(0.04));
        points.push(target);
        doors.push(door > 0 || unit_off);
    }
    (values, points, doors)
}

/// Adds a fault and says in which minute it is over.
fn inject(values: &mut [f64], kind: AnomalyKind, at: usize, random: &mut Random) -> usize {
    let sign = random.sign();
    let minutes = match kind {
        AnomalyKind::Spike => 1,
        AnomalyKind::Step => 480,
        AnomalyKind::Noise => 240,
        AnomalyKind::Stuck => 720,
        AnomalyKind::Runaway => 240,
        AnomalyKind::DoorLeftOpen => 120,
        _ => DAY,
    };
    let size = match kind {
        AnomalyKind::Spike => sign * random.between(8.0, 25.0),
        AnomalyKind::Step => sign * random.between(2.5, 5.0),
        AnomalyKind::Noise => random.between(1.0, 2.0),
        AnomalyKind::Runaway => random.between(18.0, 30.0),
        AnomalyKind::DoorLeftOpen => random.between(6.0, 12.0),
        _ => sign * random.between(4.0, 8.0) / DAY as f64,
    };
    let held = values[at];
    let last = (at + minutes).min(values.len() - 1);
    for (since, value) in values[at..last].iter_mut().enumerate() {
        let since = since as f64;
        match kind {
            AnomalyKind::Stuck => *value = held,
            AnomalyKind::Spike | AnomalyKind::Step => *value += size,
            AnomalyKind::Noise => *value += random.gauss(size),
            AnomalyKind::Runaway => *value += size * (1.0 - (-since / 120.0).exp()),
            AnomalyKind::DoorLeftOpen => *value += size * (1.0 - (-since / 25.0).exp()),
            _ => *value += size * since,
        }
    }
    // A spike may be told at the reading after it.
    last.max(at + 10)
}
