//! A refrigerated box as it is in ordinary life, one reading a minute: compressor, doors, defrosts.

/// Milliseconds of a Monday, midnight.
pub(crate) const START_MS: u64 = 1_767_571_200_000;
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const DAY: usize = 1440;

/// Ordinary life from a seed.
pub(crate) struct Reefer {
    random: u64,
    minute: usize,
    defrost: f64,
    next_defrost: usize,
    heat: f64,
    door: usize,
    drift: f64,
    pub(crate) set_point: f64,
    pub(crate) door_open: bool,
}

impl Reefer {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            minute: 0,
            defrost: 0.0,
            next_defrost: 200,
            heat: 0.0,
            door: 0,
            drift: 0.0,
            set_point: -18.0,
            door_open: false,
        }
    }

    /// A number from -1 to 1.
    pub(crate) fn noise(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    }

    /// The next minute, in steps of 1/16 degree.
    pub(crate) fn next(&mut self) -> f64 {
        let at = self.minute;
        self.minute += 1;
        if at >= self.next_defrost + 30 {
            self.next_defrost += 270 + (30.0 * self.noise()) as usize;
        }
        let heating = (self.next_defrost..self.next_defrost + 30).contains(&at);
        self.defrost += if heating {
            (4.0 - self.defrost) / 12.0
        } else {
            -self.defrost / 15.0
        };
        let shift = (400..1000).contains(&(at % DAY));
        if self.door == 0 && shift && self.noise() > 1.0 - 2.0 / 120.0 {
            self.door = 9 + (6.0 * self.noise()) as usize;
        }
        self.door_open = self.door > 0;
        if self.door > 0 {
            self.heat += 0.6;
            self.door -= 1;
        }
        self.heat *= 0.93;
        let saw = 0.8 * (4.0 * ((at as f64 / 30.0).fract() - 0.5).abs() - 1.0);
        self.drift = 0.8 * self.drift + 0.08 * self.noise();
        let raw =
            self.set_point + saw + self.defrost + self.heat + self.drift + 0.07 * self.noise();
        (raw * 16.0).round() / 16.0
    }

    /// So many minutes.
    pub(crate) fn minutes(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }
}
