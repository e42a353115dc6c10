//! What the operator's data plan and the centre allow: bytes a second, bytes a month, bytes of backlog.
//!
//! Promises: alerts and what keeps the contract going (births, the last word) pass always and are counted;
//! everything else waits while the bucket is empty or the month is used up; what was used outlives the
//! process when the caller keeps it. Never: reads a clock; drops anything.
//!
//! Bytes are those of MQTT packets with their answers and the TCP/IP headers of both, estimated as
//! [`PACKET_OVERHEAD_LEN`] a message.

use serde::{Deserialize, Serialize};

/// MQTT around topic and payload (9), the answer (4), and two times TCP and IPv4 (2 x 40).
pub(crate) const PACKET_OVERHEAD_LEN: u64 = 93;
/// So much of a second's bytes may pass at once after a pause.
const BURST_S: u64 = 2;
/// A bucket holds at least one long frame.
const BURST_BYTES_MIN: u64 = 4_096;
/// The longest time for which a hint of the centre counts, ms.
pub(crate) const HINT_MS_MAX: u64 = 600_000;

/// A data plan; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Bytes a second.
    pub bytes_per_s: Option<u64>,
    /// Bytes in a calendar month (UTC).
    pub month_bytes: Option<u64>,
}

/// The plans of a vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plans {
    /// In the home network.
    pub home: Plan,
    /// While roaming; `None` is the same as at home, on the same account.
    pub roaming: Option<Plan>,
}

/// A calendar month: years since the year 0 times 12, and the month from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(pub u32);

/// What was used of the plans in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanUse {
    /// The latest month that was known.
    pub month: Month,
    /// Bytes in the home network.
    pub home_bytes: u64,
    /// Bytes while roaming.
    pub roaming_bytes: u64,
}

/// How the plan stands, for status and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlanStats {
    /// What was used.
    #[serde(flatten)]
    pub used: PlanUse,
    /// Whether the roaming plan counts.
    pub is_roaming: bool,
    /// Bytes that the month allows in this network.
    pub month_bytes: Option<u64>,
    /// Bytes that a second allows in this network.
    pub bytes_per_s: Option<u64>,
    /// Whether only alerts go out until the month ends.
    pub is_used_up: bool,
    /// What the centre allows of the backlog, bytes a second.
    pub backlog_bytes_per_s: Option<u64>,
}

/// A token bucket. It may be overdrawn by what may not wait.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    bytes_per_s: u64,
    /// Thousandths of a byte: a slow plan gains less than a byte in a millisecond.
    tokens_milli: i64,
    at_ms: u64,
}

impl Bucket {
    fn full(bytes_per_s: u64, now_ms: u64) -> Self {
        let mut bucket = Self {
            bytes_per_s,
            tokens_milli: 0,
            at_ms: now_ms,
        };
        bucket.tokens_milli = bucket.burst_milli();
        bucket
    }

    fn burst_milli(&self) -> i64 {
        let bytes = self
            .bytes_per_s
            .saturating_mul(BURST_S)
            .max(BURST_BYTES_MIN);
        i64::try_from(bytes.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    fn fill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let gained = i64::try_from(passed_ms.saturating_mul(self.bytes_per_s)).unwrap_or(i64::MAX);
        self.tokens_milli = self
            .tokens_milli
            .saturating_add(gained)
            .min(self.burst_milli());
        self.at_ms = now_ms.max(self.at_ms);
    }

    fn spend(&mut self, len: u64) {
        let milli = i64::try_from(len.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.tokens_milli = self.tokens_milli.saturating_sub(milli);
    }

    fn is_open(&self) -> bool {
        self.tokens_milli > 0
    }

    /// When it opens; `None` when it is open, or never opens.
    fn opens_ms(&self) -> Option<u64> {
        if self.is_open() || self.bytes_per_s == 0 {
            return None;
        }
        let missing_milli = self.tokens_milli.unsigned_abs().saturating_add(1);
        Some(
            self.at_ms
                .saturating_add(missing_milli.div_ceil(self.bytes_per_s)),
        )
    }
}

/// A limit that the centre has set for a while.
#[derive(Debug, Clone, Copy)]
struct Hint {
    bucket: Bucket,
    until_ms: u64,
}

/// The plans, what was used of them, and the centre's hint.
#[derive(Debug)]
pub(crate) struct Budget {
    plans: Plans,
    is_roaming: bool,
    used: PlanUse,
    bucket: Option<Bucket>,
    hint: Option<Hint>,
}

impl Budget {
    pub(crate) fn new(plans: Plans, now_ms: u64) -> Self {
        let mut budget = Self {
            plans,
            is_roaming: false,
            used: PlanUse::default(),
            bucket: None,
            hint: None,
        };
        budget.bucket = budget.new_bucket(now_ms);
        budget
    }

    fn new_bucket(&self, now_ms: u64) -> Option<Bucket> {
        let bytes_per_s = self.plan().bytes_per_s?;
        Some(Bucket::full(bytes_per_s, now_ms))
    }

    fn plan(&self) -> Plan {
        let roaming = self.plans.roaming.filter(|_| self.is_roaming);
        roaming.unwrap_or(self.plans.home)
    }

    /// What an earlier process has used.
    pub(crate) fn restore(&mut self, used: PlanUse) {
        self.used = used;
    }

    /// What was used so far.
    pub(crate) fn used(&self) -> PlanUse {
        self.used
    }

    /// Another network.
    pub(crate) fn set_roaming(&mut self, now_ms: u64, is_roaming: bool) {
        if self.is_roaming != is_roaming {
            self.is_roaming = is_roaming;
            self.bucket = self.new_bucket(now_ms);
        }
    }

    /// The month, when somebody knows it. It never goes back: a clock that was wrong gives nothing away.
    pub(crate) fn note_month(&mut self, month: Month) {
        if month > self.used.month {
            // Before the first known month there is no telling when the count began: it stays.
            let (home_bytes, roaming_bytes) = if self.used.month == Month::default() {
                (self.used.home_bytes, self.used.roaming_bytes)
            } else {
                (0, 0)
            };
            self.used = PlanUse {
                month,
                home_bytes,
                roaming_bytes,
            };
        }
    }

    /// The centre allows so many bytes of backlog a second for a while; `None` ends an earlier limit.
    pub(crate) fn hint(&mut self, now_ms: u64, bytes_per_s: Option<u64>, for_ms: u64) {
        self.hint = bytes_per_s.map(|bytes_per_s| Hint {
            bucket: Bucket {
                tokens_milli: 0,
                ..Bucket::full(bytes_per_s, now_ms)
            },
            until_ms: now_ms.saturating_add(for_ms.min(HINT_MS_MAX)),
        });
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if let Some(bucket) = &mut self.bucket {
            bucket.fill(now_ms);
        }
        self.hint = self.hint.filter(|hint| now_ms < hint.until_ms);
        if let Some(hint) = &mut self.hint {
            hint.bucket.fill(now_ms);
        }
    }

    /// Bytes went out, whether they were allowed or not.
    pub(crate) fn spend(&mut self, len: u64) {
        let used = if self.is_roaming && self.plans.roaming.is_some() {
            &mut self.used.roaming_bytes
        } else {
            &mut self.used.home_bytes
        };
        *used = used.saturating_add(len);
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(len);
        }
    }

    /// Bytes of the backlog went out, of which the centre may want few.
    pub(crate) fn spend_hint(&mut self, len: u64) {
        if let Some(hint) = &mut self.hint {
            hint.bucket.spend(len);
        }
    }

    /// Bytes came in.
    pub(crate) fn receive(&mut self, len: u64) {
        self.spend(len);
    }

    /// Whether the month allows no more than alerts.
    pub(crate) fn is_used_up(&self) -> bool {
        let used = if self.is_roaming && self.plans.roaming.is_some() {
            self.used.roaming_bytes
        } else {
            self.used.home_bytes
        };
        self.plan().month_bytes.is_some_and(|most| used >= most)
    }

    /// Whether something that can wait may go out.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_used_up() && self.bucket.is_none_or(|bucket| bucket.is_open())
    }

    /// Whether a frame of the backlog may go out.
    pub(crate) fn is_backlog_open(&self) -> bool {
        self.is_open() && self.hint.is_none_or(|hint| hint.bucket.is_open())
    }

    /// When something that waits may go out, in time order.
    pub(crate) fn deadlines(&self) -> [Option<u64>; 3] {
        let hint = self.hint.filter(|hint| !hint.bucket.is_open());
        [
            self.bucket.and_then(|bucket| bucket.opens_ms()),
            hint.and_then(|hint| hint.bucket.opens_ms()),
            hint.map(|hint| hint.until_ms),
        ]
    }

    pub(crate) fn stats(&self) -> PlanStats {
        PlanStats {
            used: self.used,
            is_roaming: self.is_roaming,
            month_bytes: self.plan().month_bytes,
            bytes_per_s: self.plan().bytes_per_s,
            is_used_up: self.is_used_up(),
            backlog_bytes_per_s: self.hint.map(|hint| hint.bucket.bytes_per_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(bytes_per_s: u64, month_bytes: u64) -> Plan {
        Plan {
            bytes_per_s: Some(bytes_per_s),
            month_bytes: Some(month_bytes),
        }
    }

    fn budget() -> Budget {
        let plans = Plans {
            home: plan(10_000, 1_000_000),
            roaming: Some(plan(100, 50_000)),
        };
        Budget::new(plans, 0)
    }

    #[test]
    fn a_second_gives_its_bytes_and_a_pause_no_more_than_two_seconds() {
        let mut budget = budget();
        let mut sent = 0;
        for now_ms in 0..=10_000 {
            budget.tick(now_ms);
            while budget.is_open() {
                budget.spend(1_000);
                sent += 1_000;
            }
        }
        assert!((119_000..=121_000).contains(&sent), "{sent}");
        budget.tick(3_600_000);
        let mut burst = 0;
        while budget.is_open() {
            budget.spend(1_000);
            burst += 1_000;
        }
        assert_eq!(burst, 20_000);
    }

    #[test]
    fn what_overdraws_the_bucket_delays_the_rest_until_the_told_time() {
        let mut budget = budget();
        budget.spend(120_000);
        assert!(!budget.is_open());
        let [opens_ms, ..] = budget.deadlines();
        let opens_ms = opens_ms.unwrap();
        assert_eq!(opens_ms, 10_001);
        budget.tick(opens_ms - 1);
        assert!(!budget.is_open());
        budget.tick(opens_ms);
        assert!(budget.is_open());
    }

    #[test]
    fn a_used_up_month_ends_with_the_next_month_and_not_with_a_clock_that_goes_back() {
        let mut budget = budget();
        budget.note_month(Month(24_310));
        budget.spend(1_000_000);
        budget.tick(1_000_000);
        assert!(budget.is_used_up() && !budget.is_open());
        budget.note_month(Month(24_309));
        assert!(budget.is_used_up());
        let mut later = Budget::new(budget.plans, 0);
        later.restore(budget.used());
        assert!(later.is_used_up());
        later.note_month(Month(24_311));
        assert!(later.is_open());
    }

    #[test]
    fn bytes_from_before_the_month_was_known_count_in_it() {
        let mut budget = budget();
        budget.spend(400);
        budget.note_month(Month(24_310));
        assert_eq!(budget.used().home_bytes, 400);
    }

    #[test]
    fn roaming_has_its_own_bucket_and_account() {
        let mut budget = budget();
        budget.spend(1_000_000);
        assert!(budget.is_used_up());
        budget.set_roaming(0, true);
        assert!(budget.is_open());
        budget.spend(50_000);
        assert!(budget.is_used_up());
        assert_eq!(
            (budget.used().home_bytes, budget.used().roaming_bytes),
            (1_000_000, 50_000)
        );
    }

    #[test]
    fn a_hint_of_the_centre_slows_the_backlog_alone_and_ends_by_itself() {
        let mut budget = Budget::new(Plans::default(), 0);
        budget.hint(0, Some(1_000), 60_000);
        let mut backlog = 0;
        for now_ms in 0..10_000 {
            budget.tick(now_ms);
            assert!(budget.is_open());
            while budget.is_backlog_open() {
                budget.spend_hint(500);
                backlog += 500;
            }
        }
        assert!((9_500..=10_500).contains(&backlog), "{backlog}");
        budget.hint(10_000, Some(0), u64::MAX);
        budget.tick(10_000 + HINT_MS_MAX - 1);
        assert!(!budget.is_backlog_open());
        assert_eq!(budget.deadlines()[2], Some(10_000 + HINT_MS_MAX));
        budget.tick(10_000 + HINT_MS_MAX);
        assert!(budget.is_backlog_open());
    }
}
