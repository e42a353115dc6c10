//! Which acknowledgements are believed, and how far.
//!
//! Promises: the first centre that answers one of our births is the only one for ever; within a run the
//! count only rises; a run that was left is never believed again; only an answer that echoes the nonce of
//! the current birth may take something back. Never: touches the numbers; that is the book's part.

use firmware_shared::message::Ack;

/// Runs that are remembered as left.
pub(crate) const RUNS_LEFT_MAX: usize = 16;

/// A run of the ingest and the last count that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    id: u64,
    n: u64,
}

/// What to do with an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// From another centre than ours: nothing.
    Foreign,
    /// Heard before, or from a run that is over: nothing.
    Old,
    /// Nobody has answered a birth yet: nothing, but ask again.
    Unproven,
    /// What it says is in addition to what is known; `unknown_run`: ask for an answer.
    Advance {
        /// The run has not answered a birth.
        unknown_run: bool,
    },
    /// It answers the current birth: what it says replaces what is known.
    Answer,
}

/// What is known of the centre. What must survive the process is in the book and passed in.
#[derive(Debug, Default)]
pub(crate) struct Centre {
    run: Option<Run>,
    /// A run that has not answered a birth yet.
    stranger: Option<Run>,
    nonce: Option<u64>,
}

impl Centre {
    /// A birth with this nonce goes out.
    pub(crate) fn expect_answer(&mut self, nonce: u64) {
        self.nonce = Some(nonce);
    }

    /// The connection of the last birth is over: an answer to it is no answer any more.
    pub(crate) fn expect_nothing(&mut self) {
        self.nonce = None;
    }

    /// Judges an acknowledgement; `central_id` and `runs_left` are the durable part and are updated.
    pub(crate) fn judge(
        &mut self,
        ack: &Ack,
        central_id: &mut Option<u64>,
        runs_left: &mut Vec<u64>,
    ) -> Verdict {
        let echoes = self.nonce.is_some() && ack.nonce == self.nonce;
        match central_id {
            Some(pinned) if *pinned != ack.central_id => return Verdict::Foreign,
            None if !echoes => return Verdict::Unproven,
            _ => {}
        }
        if runs_left.contains(&ack.run) {
            return Verdict::Old;
        }
        let heard = Run {
            id: ack.run,
            n: ack.n,
        };
        match self.run {
            Some(run) if run.id == heard.id && heard.n <= run.n => return Verdict::Old,
            Some(run) if run.id == heard.id => {
                self.run = Some(heard);
                if !echoes {
                    return Verdict::Advance { unknown_run: false };
                }
            }
            _ if !echoes => {
                let again = self
                    .stranger
                    .is_some_and(|s| s.id == heard.id && heard.n <= s.n);
                if again {
                    return Verdict::Old;
                }
                self.stranger = Some(heard);
                return Verdict::Advance { unknown_run: true };
            }
            left => {
                if let Some(left) = left {
                    runs_left.push(left.id);
                    if runs_left.len() > RUNS_LEFT_MAX {
                        runs_left.remove(0);
                    }
                }
                self.run = Some(heard);
                self.stranger = None;
            }
        }
        *central_id = Some(ack.central_id);
        Verdict::Answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        centre: Centre,
        central_id: Option<u64>,
        runs_left: Vec<u64>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                centre: Centre::default(),
                central_id: None,
                runs_left: Vec::new(),
            }
        }

        fn judge(&mut self, central_id: u64, run: u64, n: u64, nonce: Option<u64>) -> Verdict {
            let ack = Ack {
                central_id,
                run,
                n,
                nonce,
                entries: heapless::Vec::new(),
            };
            self.centre
                .judge(&ack, &mut self.central_id, &mut self.runs_left)
        }
    }

    const ADVANCE: Verdict = Verdict::Advance { unknown_run: false };
    const STRANGER: Verdict = Verdict::Advance { unknown_run: true };

    #[test]
    fn only_the_centre_that_first_answered_a_birth_is_believed() {
        let mut bench = Bench::new();
        assert_eq!(bench.judge(9, 1, 1, None), Verdict::Unproven);
        bench.centre.expect_answer(77);
        assert_eq!(bench.judge(9, 1, 2, Some(76)), Verdict::Unproven);
        assert_eq!(bench.judge(7, 1, 3, Some(77)), Verdict::Answer);
        assert_eq!(bench.central_id, Some(7));
        assert_eq!(bench.judge(9, 1, 4, Some(77)), Verdict::Foreign);
        assert_eq!(bench.judge(7, 1, 4, None), ADVANCE);
    }

    #[test]
    fn a_count_that_does_not_rise_is_old_even_with_the_nonce() {
        let mut bench = Bench::new();
        bench.centre.expect_answer(77);
        assert_eq!(bench.judge(7, 1, 5, Some(77)), Verdict::Answer);
        assert_eq!(bench.judge(7, 1, 5, Some(77)), Verdict::Old);
        assert_eq!(bench.judge(7, 1, 4, None), Verdict::Old);
        assert_eq!(bench.judge(7, 1, 6, Some(77)), Verdict::Answer);
    }

    #[test]
    fn an_unknown_run_may_advance_and_takes_over_only_with_our_nonce() {
        let mut bench = Bench::new();
        bench.centre.expect_answer(77);
        assert_eq!(bench.judge(7, 1, 5, Some(77)), Verdict::Answer);
        assert_eq!(bench.judge(7, 2, 1, None), STRANGER);
        assert_eq!(bench.judge(7, 2, 1, None), Verdict::Old);
        bench.centre.expect_answer(78);
        // The answer to the birth before is no answer any more.
        assert_eq!(bench.judge(7, 2, 2, Some(77)), STRANGER);
        assert_eq!(bench.judge(7, 2, 3, Some(78)), Verdict::Answer);
        assert_eq!(bench.runs_left, [1]);
        assert_eq!(bench.judge(7, 1, 99, Some(78)), Verdict::Old);
    }
}
