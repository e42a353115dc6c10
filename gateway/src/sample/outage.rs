//! Whether a whole bus is at fault.
//!
//! Promises: the same fault on every address is one problem of the bus, told when it begins, changes and
//! ends, and told again until the telling succeeds. Never: a bus problem because of one part that is
//! missing among others, or alone on its bus.

use firmware_shared::reading::FaultKind;

/// What a bus thread says about its bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusReport {
    /// The how-manieth bus of the configuration.
    pub bus: u8,
    /// What every address says; `None` when the bus works.
    pub problem: Option<FaultKind>,
}

/// What is known about a bus.
#[derive(Debug)]
pub(super) struct Outage {
    bus: u8,
    told: Option<FaultKind>,
}

impl Outage {
    pub(super) fn new(bus: u8) -> Self {
        Self { bus, told: None }
    }

    /// Looks at the faults of all parts; `tell` says whether it was heard.
    pub(super) fn look(
        &mut self,
        faults: impl Iterator<Item = Option<FaultKind>>,
        tell: impl FnOnce(BusReport) -> bool,
    ) {
        let problem = problem(faults);
        let report = BusReport {
            bus: self.bus,
            problem,
        };
        if problem != self.told && tell(report) {
            self.told = problem;
        }
    }
}

/// The fault that all have, if it can be that of a bus.
fn problem(mut faults: impl Iterator<Item = Option<FaultKind>>) -> Option<FaultKind> {
    let first = faults.next()??;
    let mut count = 1;
    for fault in faults {
        if fault != Some(first) {
            return None;
        }
        count += 1;
    }
    match first {
        // One part that does not answer is a missing part.
        FaultKind::NO_ACK => (count > 1).then_some(first),
        // A bus that hangs, or whose file cannot be used, hangs for everybody.
        FaultKind::BUS_TIMEOUT | FaultKind::BUS_OTHER => Some(first),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_of_all_parts_is_one_of_the_bus() {
        let table = [
            (vec![Some(FaultKind::NO_ACK); 3], Some(FaultKind::NO_ACK)),
            (vec![Some(FaultKind::NO_ACK)], None),
            (vec![Some(FaultKind::NO_ACK), None], None),
            (
                vec![Some(FaultKind::NO_ACK), Some(FaultKind::BUS_TIMEOUT)],
                None,
            ),
            (
                vec![Some(FaultKind::BUS_TIMEOUT)],
                Some(FaultKind::BUS_TIMEOUT),
            ),
            (vec![Some(FaultKind::WRONG_DEVICE); 2], None),
            (vec![], None),
        ];
        for (faults, expected) in table {
            assert_eq!(problem(faults.clone().into_iter()), expected, "{faults:?}");
        }
    }

    #[test]
    fn a_problem_is_told_once_and_again_only_when_nobody_heard() {
        let mut outage = Outage::new(4);
        let mut told = Vec::new();
        let down = [Some(FaultKind::NO_ACK); 2];
        for (faults, heard) in [(down, false), (down, true), (down, true), ([None; 2], true)] {
            outage.look(faults.into_iter(), |report| {
                told.push(report);
                heard
            });
        }
        let problems: Vec<_> = told.iter().map(|report| report.problem).collect();
        assert_eq!(
            problems,
            [Some(FaultKind::NO_ACK), Some(FaultKind::NO_ACK), None]
        );
        assert!(told.iter().all(|report| report.bus == 4));
    }
}
