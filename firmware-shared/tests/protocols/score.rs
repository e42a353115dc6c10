//! Faults found at a budget of false alerts, and how well they are explained.

use firmware_shared::detect::{AnomalyKind, Channels, Detector, Input};

use crate::fleet::{DAY, DEADLINES, Fault, Truck, WARM_UP};

const START_MS: u64 = 1_767_571_200_000;
/// An expected value is right when it is this near to the clean twin, degC.
const NEAR: f64 = 1.0;

/// What a detector said about one reading.
#[derive(Debug, Clone, Copy)]
struct Said {
    score: f32,
    kind: Option<AnomalyKind>,
    expected: f64,
}

/// All that a detector said about a fleet, clean and with faults.
pub(crate) struct Judged<'a> {
    /// Scores of the clean streams, highest first.
    clean: Vec<f32>,
    days: f64,
    faulty: Vec<(&'a Truck, Vec<Said>)>,
}

/// Figures at one budget.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) found: usize,
    pub(crate) faults: usize,
    pub(crate) kind_right: usize,
    pub(crate) expected_near: usize,
    /// Minutes for each found fault, sorted, in the order of the kinds.
    pub(crate) delays: Vec<(AnomalyKind, Vec<usize>)>,
}

impl<'a> Judged<'a> {
    pub(crate) fn new<const M: usize, const P: usize, const T: usize, const B: usize>(
        trucks: &'a [Truck],
        channels: bool,
    ) -> Self {
        let run = |truck: &Truck, values: &[f64]| {
            let mut detector = Box::new(Detector::<M, P, T, B>::new());
            let judge = |minute: usize| {
                let known = Channels {
                    set_point: channels.then_some(truck.set_points[minute]),
                    door: channels.then_some(truck.doors[minute]),
                    ..Channels::default()
                };
                let now_ms = START_MS + 60_000 * minute as u64;
                let said = detector.step(now_ms, &Input::with_channels(values[minute], known));
                Said {
                    score: said.score,
                    kind: said.kind,
                    expected: said.expected,
                }
            };
            (0..values.len()).map(judge).collect::<Vec<_>>()
        };
        let mut clean: Vec<f32> = trucks
            .iter()
            .flat_map(|truck| run(truck, &truck.clean).split_off(WARM_UP))
            .map(|said| said.score)
            .filter(|score| *score > 0.0)
            .collect();
        clean.sort_by(|a, b| b.total_cmp(a));
        let minutes: usize = trucks.iter().map(|truck| truck.clean.len() - WARM_UP).sum();
        Self {
            clean,
            days: minutes as f64 / DAY as f64,
            faulty: trucks
                .iter()
                .map(|truck| (truck, run(truck, &truck.faulty)))
                .collect(),
        }
    }

    /// The score above which clean trucks raise at most `budget` alerts a day.
    pub(crate) fn threshold(&self, budget: f64) -> f32 {
        let allowed = (budget * self.days) as usize;
        self.clean.get(allowed).copied().unwrap_or(0.0)
    }

    pub(crate) fn at(&self, threshold: f32) -> Figures {
        let mut figures = Figures {
            found: 0,
            faults: 0,
            kind_right: 0,
            expected_near: 0,
            delays: DEADLINES.map(|(kind, _)| (kind, Vec::new())).to_vec(),
        };
        for (truck, said) in &self.faulty {
            for fault in &truck.faults {
                figures.faults += 1;
                if let Some(minute) = first_alert(said, fault, threshold) {
                    figures.count(fault, minute, &said[minute], truck.clean[minute]);
                }
            }
        }
        for (_, delays) in &mut figures.delays {
            delays.sort_unstable();
        }
        figures
    }
}

fn first_alert(said: &[Said], fault: &Fault, threshold: f32) -> Option<usize> {
    let deadline = DEADLINES.iter().find(|(kind, _)| *kind == fault.kind);
    let last = fault
        .last
        .min(fault.at + deadline.map_or(0, |(_, minutes)| *minutes));
    (fault.at..=last).find(|minute| said[*minute].score > threshold)
}

impl Figures {
    fn count(&mut self, fault: &Fault, minute: usize, said: &Said, clean: f64) {
        self.found += 1;
        self.kind_right += usize::from(said.kind == Some(fault.kind));
        self.expected_near += usize::from((said.expected - clean).abs() <= NEAR);
        for (kind, delays) in &mut self.delays {
            if *kind == fault.kind {
                delays.push(minute - fault.at);
            }
        }
    }

    /// Half of the found faults of this kind were found so soon, minutes.
    pub(crate) fn median_delay(&self, kind: AnomalyKind) -> f64 {
        let delays = self.delays.iter().find(|(known, _)| *known == kind);
        let delays = delays.map_or(&[][..], |(_, delays)| delays);
        if delays.is_empty() {
            return f64::NAN;
        }
        let middle = |place: usize| delays[place] as f64;
        (middle((delays.len() - 1) / 2) + middle(delays.len() / 2)) / 2.0
    }

    pub(crate) fn share(part: usize, of: usize) -> f64 {
        part as f64 / of.max(1) as f64
    }
}
