//! Boots of vehicles whose clocks step, drift, or say nothing, and what the centre makes of their time.
//!
//! The truth is the simulated world's own: a crystal that drifts by up to 100 ppm and changes its mind, a
//! wall clock that is up to 20 years off and steps, anchors of GNSS and NTP that are as wrong as they say
//! they may be, or missing. Every boot goes through the arithmetic; some go through database and views.

use std::collections::BTreeMap;
use std::sync::Arc;

use firmware_shared::id::{Lane, StreamId};
use firmware_shared::message::Birth;
use firmware_shared::reading::Reading;
use firmware_shared::time::{ClockSource, TimeAnchor};
use firmware_shared::topic::Leaf;

use crate::ingest::timing::BootClock;
use crate::testing::*;

const BOOTS: u64 = 100_000;
const YEAR_MS: i64 = 31_557_600_000;
/// 2026-06-01
const BEGIN_MS: i64 = 1_780_272_000_000;
const READINGS: u64 = 12;

/// SplitMix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, from: i64, to: i64) -> i64 {
        from + (self.roll() % (to - from + 1).unsigned_abs()) as i64
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }
}

/// One boot of one vehicle.
struct Boot {
    begin_ms: i64,
    /// Ends of legs: stamp in ms, true UTC in us.
    legs: Vec<(i64, i64)>,
    stamps: Vec<u64>,
    anchors: Vec<TimeAnchor>,
}

impl Boot {
    fn new(dice: &mut Dice, begin_ms: i64) -> Self {
        let mut legs = vec![(0, begin_ms * 1000)];
        for _ in 0..dice.within(1, 5) {
            let (stamp_ms, utc_us) = legs[legs.len() - 1];
            let ms = dice.within(120_000, 15_000_000);
            let ppm = match dice.one_in(4) {
                true => [-100, 100][dice.roll() as usize % 2],
                false => dice.within(-100, 100),
            };
            legs.push((stamp_ms + ms, utc_us + ms * 1000 + ms * ppm / 1000));
        }
        let mut boot = Self {
            begin_ms,
            legs,
            stamps: Vec::new(),
            anchors: Vec::new(),
        };
        boot.sample(dice);
        boot.anchor(dice);
        boot
    }

    fn length_ms(&self) -> i64 {
        self.legs[self.legs.len() - 1].0
    }

    fn end_ms(&self) -> i64 {
        self.truth_ms(self.length_ms().unsigned_abs())
    }

    fn truth_ms(&self, stamp_ms: u64) -> i64 {
        let stamp_ms = stamp_ms as i64;
        let leg = self.legs.windows(2).find(|leg| stamp_ms <= leg[1].0);
        let [(from_ms, from_us), (to_ms, to_us)] = leg.unwrap() else {
            panic!()
        };
        let part = i128::from(stamp_ms - from_ms) * i128::from(to_us - from_us);
        (from_us + (part / i128::from(to_ms - from_ms)) as i64) / 1000
    }

    fn sample(&mut self, dice: &mut Dice) {
        let mut stamps = std::collections::BTreeSet::new();
        while stamps.len() < READINGS as usize {
            let stamp_ms = dice.within(0, self.length_ms()) as u64;
            // Neighbours that a wrong bend would swap.
            stamps.extend([stamp_ms, stamp_ms.saturating_sub(1)]);
        }
        self.stamps = stamps.into_iter().take(READINGS as usize).collect();
    }

    fn anchor(&mut self, dice: &mut Dice) {
        use ClockSource::{Fake, Gnss, Ntp, Rtc};
        let kind = dice.roll() % 8;
        let mut wall_off_ms = dice.within(-20 * YEAR_MS, 20 * YEAR_MS);
        let sources: &[ClockSource] = match kind {
            0 => &[],
            1 => &[Fake, Rtc],
            2 => &[Ntp],
            3 | 4 => &[Gnss],
            5 => &[Rtc, Ntp],
            _ => &[Rtc, Ntp, Gnss, Gnss],
        };
        for _ in 0..dice.within(0, 12) {
            let Some(source) = sources.get(dice.roll() as usize % sources.len().max(1)) else {
                return;
            };
            let boottime_ms = dice.within(0, self.length_ms()) as u64;
            let truth_ms = self.truth_ms(boottime_ms);
            let error_ms = dice.within(20, 3000);
            let off_ms = if *source < Ntp {
                if dice.one_in(3) {
                    wall_off_ms = dice.within(-20 * YEAR_MS, 20 * YEAR_MS);
                }
                wall_off_ms
            } else {
                dice.within(-error_ms, error_ms)
            };
            self.anchors.push(TimeAnchor {
                boottime_ms,
                utc_ms: truth_ms + off_ms,
                error_ms: error_ms as u32,
                source: *source,
            });
        }
    }
}

#[test]
fn a_hundred_thousand_boots_are_dated_within_their_bound_and_in_order() {
    let mut dice = Dice(2026);
    let (mut dated_count, mut undated_boots, mut worst_ms) = (0_u64, 0_u64, 0_u64);
    for number in 0..BOOTS {
        let begin_ms = BEGIN_MS + dice.within(0, YEAR_MS);
        let boot = Boot::new(&mut dice, begin_ms);
        // Anchors arrive in any order, and every second boot was dated in between.
        let mut clock = BootClock::default();
        let half = boot.anchors.len() / 2;
        for anchor in &boot.anchors[..half] {
            clock.learn_alone(*anchor);
        }
        let early = clock.timeline();
        let mut again: Vec<[u64; 2]> = Vec::new();
        for anchor in &boot.anchors[half..] {
            again.extend(clock.learn_alone(*anchor));
        }
        let Some(timeline) = clock.timeline() else {
            undated_boots += 1;
            continue;
        };
        let mut last_ms = i64::MIN;
        for stamp_ms in &boot.stamps {
            let is_dated_again = again
                .iter()
                .any(|[from_ms, to_ms]| (*from_ms..=*to_ms).contains(stamp_ms));
            let source = match (&early, is_dated_again) {
                (Some(early), false) => Arc::clone(early),
                _ => Arc::clone(&timeline),
            };
            let dated = source.date(*stamp_ms).unwrap();
            let final_ms = timeline.date(*stamp_ms).unwrap().utc_ms;
            assert_eq!(dated.utc_ms, final_ms, "boot {number}, stamp {stamp_ms}");
            assert!(dated.utc_ms >= last_ms, "boot {number}: an inversion");
            last_ms = dated.utc_ms;
            if let Some(error_ms) = dated.error_ms {
                let off_ms = dated.utc_ms.abs_diff(boot.truth_ms(*stamp_ms));
                assert!(
                    off_ms <= error_ms.into(),
                    "boot {number}: {off_ms} > {error_ms}"
                );
                worst_ms = worst_ms.max(off_ms);
                dated_count += 1;
            }
        }
    }
    println!(
        "{BOOTS} boots, {undated_boots} without an anchor, {dated_count} readings with a bound, \
         worst error {worst_ms} ms"
    );
    assert!(dated_count > BOOTS * READINGS / 2, "{dated_count}");
    assert!(undated_boots > BOOTS / 20, "{undated_boots}");
}

/// A vehicle's life through the centre: what each stored number should say.
struct Life {
    desk: Desk,
    dice: Dice,
    truths: BTreeMap<(u64, u64), i64>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut life = Self {
            desk: Desk::new(),
            dice: Dice(seed),
            truths: BTreeMap::new(),
        };
        // Nobody cuts the power here.
        life.desk.execute("PRAGMA synchronous = OFF");
        let mut begin_ms = BEGIN_MS;
        let mut late: Vec<(i64, Leaf<'static>, Vec<u8>)> = Vec::new();
        for number in 0..BOOTS_PER_LIFE {
            let boot = Boot::new(&mut life.dice, begin_ms);
            let off_ms = life.dice.within(60_000, 10 * 86_400_000);
            begin_ms = boot.end_ms() + off_ms;
            let received_ms = boot.end_ms() + life.dice.within(0, 30_000);
            late.retain(|(at_ms, leaf, payload)| {
                let is_due = *at_ms <= received_ms;
                if is_due {
                    life.desk.now_ms = received_ms;
                    life.desk.give(*leaf, payload);
                }
                !is_due
            });
            life.desk.now_ms = received_ms;
            life.drive(number, &boot, &mut late);
            if life.dice.one_in(4) {
                life.date();
            }
        }
        for (at_ms, leaf, payload) in late {
            life.desk.now_ms = life.desk.now_ms.max(at_ms);
            life.desk.give(leaf, &payload);
        }
        life.date();
        life
    }

    fn date(&mut self) {
        while self.desk.committer.has_upkeep() {
            self.desk.committer.date_rows().unwrap();
        }
    }

    /// Two processes in a boot: births, openings, frames with the anchor of the moment, anchors, some late.
    fn drive(&mut self, number: u64, boot: &Boot, late: &mut Vec<(i64, Leaf<'static>, Vec<u8>)>) {
        let boot_id = firmware_shared::time::BootId(u128::from(number + 1).to_be_bytes());
        let mut said: Vec<(Leaf<'static>, Vec<u8>)> = Vec::new();
        for (process, stamps) in boot.stamps.chunks(READINGS as usize / 2).enumerate() {
            let epoch_number = number * 2 + process as u64 + 1;
            let birth = Birth {
                boot_id,
                ..birth(epoch_number, epoch_number, stamps[0], &[])
            };
            said.push((Leaf::Status, message(&birth)));
            let health = stream(epoch_number, Lane::Health);
            said.push((Leaf::Health, opening(health, boot_id)));
            for (at, pair) in stamps.chunks(3).enumerate() {
                let first_seq = at as u64 * 3;
                let best = boot.anchors.iter().filter(|a| a.boottime_ms <= pair[0]);
                let best = best.max_by_key(|anchor| (anchor.source, anchor.boottime_ms));
                let frame =
                    self.frame(stream(epoch_number, Lane::Telemetry), first_seq, pair, best);
                for (seq, stamp_ms) in (first_seq..).zip(pair) {
                    let truth_ms = boot.truth_ms(*stamp_ms);
                    self.truths.insert((epoch_number, seq), truth_ms);
                }
                match self.dice.one_in(5) {
                    true => {
                        let at_ms = self.desk.now_ms + self.dice.within(0, 30 * 86_400_000);
                        late.push((at_ms, Leaf::Telemetry, frame));
                    }
                    false => said.push((Leaf::Telemetry, frame)),
                }
            }
        }
        for list in boot.anchors.chunks(4) {
            said.push((Leaf::Health, anchors(boot_id, list)));
        }
        for (leaf, payload) in said {
            self.desk.give(leaf, &payload);
            // A frame twice is a row once.
            if self.dice.one_in(10) {
                self.desk.give(leaf, &payload);
            }
        }
        assert!(boot.begin_ms <= boot.end_ms());
    }

    fn frame(
        &self,
        stream: StreamId,
        first_seq: u64,
        stamps: &[u64],
        anchor: Option<&TimeAnchor>,
    ) -> Vec<u8> {
        let readings: Vec<Reading> = readings(first_seq, stamps.len() as u64)
            .into_iter()
            .zip(stamps)
            .map(|(reading, stamp_ms)| Reading {
                stamp_ms: *stamp_ms,
                ..reading
            })
            .collect();
        seal_anchored(stream, first_seq, &readings, anchor.copied())
    }

    fn check(&self) -> [u64; 3] {
        let rows = self.desk.column(
            "SELECT epoch || ' ' || seq || ' ' || coalesce(utc_ms, 'none') || ' ' || \
             coalesce(utc_error_ms, 'none') || ' ' || coalesce(utc_low_ms, 'none') || ' ' || \
             coalesce(utc_high_ms, 'none') || ' ' || boot_id FROM readings_timed \
             WHERE lane = 'telemetry' ORDER BY boot_id, boottime_ms",
        );
        assert_eq!(rows.len(), self.truths.len(), "every number once");
        let (mut bounded, mut confined, mut last) = (0, 0, (String::new(), i64::MIN));
        for row in &rows {
            let words: Vec<&str> = row.split(' ').collect();
            let number = |at: usize| words[at].parse::<i64>().ok();
            let key = (number(0).unwrap() as u64, number(1).unwrap() as u64);
            let truth_ms = self.truths[&key];
            let (low_ms, high_ms) = (number(4).unwrap(), number(5).unwrap());
            assert!(
                (low_ms..=high_ms).contains(&truth_ms),
                "{truth_ms} in {row}"
            );
            if last.0 != words[6] {
                last = (words[6].to_owned(), i64::MIN);
            }
            if let Some(utc_ms) = number(2) {
                assert!(utc_ms >= last.1, "an inversion: {row}");
                last.1 = utc_ms;
            }
            match number(3) {
                Some(error_ms) => {
                    let off_ms = number(2).unwrap().abs_diff(truth_ms);
                    assert!(off_ms <= error_ms.unsigned_abs(), "{off_ms}: {row}");
                    bounded += 1;
                }
                None => confined += 1,
            }
        }
        [rows.len() as u64, bounded, confined]
    }
}

const BOOTS_PER_LIFE: u64 = 100;

fn lives(count: u64) {
    let mut sum = [0; 3];
    for seed in 0..count {
        for (total, part) in sum.iter_mut().zip(Life::new(seed).check()) {
            *total += part;
        }
    }
    let [rows, bounded, confined] = sum;
    println!(
        "{} boots through the database: {rows} readings, {bounded} with a bound, {confined} confined by \
         their boot",
        count * BOOTS_PER_LIFE
    );
    assert!(bounded > rows / 2 && confined > rows / 20, "{sum:?}");
}

#[test]
fn every_stored_reading_is_dated_within_its_bound_or_confined_by_its_boot() {
    lives(4);
}

#[test]
#[ignore = "long: cargo test --release -p central -- --ignored --nocapture hundred_thousand_boots_through"]
fn a_hundred_thousand_boots_through_the_database() {
    lives(BOOTS / BOOTS_PER_LIFE);
}
