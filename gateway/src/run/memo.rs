//! What the gateway remembers beside the spool: what was used of the data plan, and how late it is at least.
//!
//! Promises: a file is replaced as a whole or not at all; it is written when [`STEP_BYTES`] were used, when a
//! day has passed and at a clean stop, so that it costs the card next to nothing; whatever is in it, the
//! gateway starts. Never: a clock; a time that nobody vouches for.

use std::fs;
use std::path::PathBuf;

use firmware_shared::time::{ClockSource, TimeAnchor};
use serde::{Deserialize, Serialize};

use super::file::StateFile;
use crate::clock::{BUILD_UTC_MS, Now};
use crate::config::{Config, KeyFiles};
use crate::deliver::{Deliver, Surroundings};
use crate::forward::budget::{Month, PlanUse};
use crate::forward::transport::{TimeFloor, certificate};
use crate::timekeeper::error_ms_at;

/// A crash forgets at most so many bytes of the plan.
const STEP_BYTES: u64 = 256 * 1024;
const DAY_MS: i64 = 86_400_000;
/// How often the roaming file is looked for, ms.
const LOOK_MS: u64 = 5_000;
/// How often the certificate is looked at, ms: renewing one is a matter of days.
const CERTIFICATE_MS: u64 = 3_600_000;
/// A receiver that says a year far behind the build is not believed.
const YEARS_MS_MAX: i64 = 30 * 365 * DAY_MS;

/// What is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    #[serde(flatten)]
    plan: PlanUse,
    /// It was this time at some moment, ms since 1970-01-01.
    utc_ms: i64,
}

/// The file and what it should say.
#[derive(Debug)]
pub(super) struct Memo {
    file: StateFile,
    roaming_file: Option<PathBuf>,
    written: Kept,
    latest: Kept,
    floor: TimeFloor,
    look_ms: u64,
    is_roaming: bool,
    keys: KeyFiles,
    certificate_look_ms: u64,
    certificate_until_s: Option<i64>,
}

impl Memo {
    /// Reads the file beside the spool's folder and tells the others what it says.
    pub(super) fn open(config: &Config, floor: TimeFloor, deliver: &mut Deliver) -> Self {
        let file = StateFile::beside(&config.spool.dir, "memo");
        let kept = read(&file);
        floor.raise(kept.utc_ms);
        deliver.restore_plan(kept.plan);
        Self {
            file,
            roaming_file: config.budget.roaming_file.clone(),
            written: kept,
            latest: kept,
            floor,
            look_ms: 0,
            is_roaming: false,
            keys: config.broker.keys.clone(),
            certificate_look_ms: 0,
            certificate_until_s: None,
        }
    }

    /// Looks what has become of network, month and plan.
    pub(super) fn turn(&mut self, now: Now, anchor: Option<TimeAnchor>, deliver: &mut Deliver) {
        if now.real_ms < self.look_ms {
            return;
        }
        self.look_ms = now.real_ms.saturating_add(LOOK_MS);
        self.is_roaming = self.roaming_file.as_ref().is_some_and(|file| file.exists());
        let utc_ms = anchor
            .filter(is_vouched_for)
            .map(|anchor| anchor.utc_ms_of(now.stamp_ms));
        let month = utc_ms.and_then(month_of);
        deliver.note_network(now.real_ms, self.is_roaming, month);
        self.look_at_certificate(now);
        deliver.note_surroundings(Surroundings {
            clock: anchor.map(|anchor| (anchor.source, error_ms_at(&anchor, now.stamp_ms))),
            certificate_until_s: self.certificate_until_s,
        });
        self.latest.plan = deliver.plan_use();
        let believable = BUILD_UTC_MS..BUILD_UTC_MS.saturating_add(YEARS_MS_MAX);
        if let Some(utc_ms) = utc_ms.filter(|utc_ms| believable.contains(utc_ms)) {
            self.floor.raise(utc_ms);
            self.latest.utc_ms = self.latest.utc_ms.max(utc_ms);
        }
        let (new, old) = (self.latest, self.written);
        let used = |kept: Kept| kept.plan.home_bytes.saturating_add(kept.plan.roaming_bytes);
        let is_due = new.plan.month != old.plan.month
            || used(new).abs_diff(used(old)) >= STEP_BYTES
            || new.utc_ms >= old.utc_ms.saturating_add(DAY_MS);
        if is_due {
            self.write();
        }
    }

    fn look_at_certificate(&mut self, now: Now) {
        if now.real_ms < self.certificate_look_ms {
            return;
        }
        self.certificate_look_ms = now.real_ms.saturating_add(CERTIFICATE_MS);
        let files = self.keys.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let pem = files.and_then(|(certificate, _)| fs::read(certificate).ok());
        self.certificate_until_s = pem.and_then(|pem| certificate::ends_s(&pem));
    }

    /// A clean stop.
    pub(super) fn close(&mut self, deliver: &Deliver) {
        self.latest.plan = deliver.plan_use();
        if self.latest != self.written {
            self.write();
        }
    }

    fn write(&mut self) {
        // Tried once: the next step tries again.
        self.written = self.latest;
        let bytes = serde_json::to_vec(&self.latest).unwrap_or_default();
        if let Err(error) = self.file.replace(&bytes) {
            let file = self.file.path().display();
            tracing::debug!(%file, %error, "the data plan is not written down");
        }
    }
}

fn is_vouched_for(anchor: &TimeAnchor) -> bool {
    matches!(anchor.source, ClockSource::Ntp | ClockSource::Gnss)
}

fn month_of(utc_ms: i64) -> Option<Month> {
    let time = jiff::Timestamp::from_millisecond(utc_ms).ok()?;
    let date = jiff::tz::TimeZone::UTC.to_datetime(time).date();
    let months = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
    u32::try_from(months).ok().map(Month)
}

fn read(file: &StateFile) -> Kept {
    let Ok(Some(bytes)) = file.read() else {
        return Kept::default();
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %file.path().display(), %error, "it counts as empty");
        Kept::default()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::deliver::tests::world::{config as deliver_config, epoch_of_start, identity};
    use crate::forward::budget::{Plan, Plans};
    use crate::spool::sim::SimDisk;

    fn config(folder: &Path) -> Config {
        let text = "[device]\nid = \"truck-001\"\n[broker]\nhost = \"b\"\n\
            [budget]\nmonth_mb = 1\nroaming_month_mb = 1\nroaming_file = \"roaming\"\n\
            [[bus]]\nname = \"i2c1\"\npath = \"/dev/i2c-1\"\n\
            [[bus.sensor]]\nname = \"load\"\ndriver = \"tmp117\"\naddress = 0x48\n";
        Config::parse(&folder.join("gateway.toml"), text).unwrap()
    }

    fn deliver() -> Deliver {
        let plan = Plan {
            bytes_per_s: None,
            month_bytes: Some(1_000_000),
        };
        let mut config = deliver_config();
        config.plans = Plans {
            home: plan,
            roaming: Some(plan),
        };
        let disk = Box::new(SimDisk::default());
        Deliver::open(config, identity(epoch_of_start(1)), disk, 0)
    }

    fn at(real_ms: u64) -> Now {
        Now {
            real_ms,
            stamp_ms: real_ms,
        }
    }

    fn anchor(source: ClockSource, utc_ms: i64) -> Option<TimeAnchor> {
        Some(TimeAnchor {
            boottime_ms: 0,
            utc_ms,
            error_ms: 10,
            source,
        })
    }

    #[test]
    fn plan_and_time_outlive_the_process_and_a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (floor, mut first) = (TimeFloor::default(), deliver());
        let mut memo = Memo::open(&config, floor, &mut first);
        let utc_ms = BUILD_UTC_MS + 40 * DAY_MS;
        memo.turn(at(0), anchor(ClockSource::Gnss, utc_ms), &mut first);
        fs::write(folder.path().join("roaming"), "").unwrap();
        memo.turn(at(LOOK_MS), anchor(ClockSource::Gnss, utc_ms), &mut first);
        assert!(first.stats().plan.is_roaming);
        let used = PlanUse {
            home_bytes: 5_000,
            roaming_bytes: 700_000,
            ..first.plan_use()
        };
        assert!(used.month > Month(24_300));
        first.restore_plan(used);
        memo.close(&first);

        let (floor, mut second) = (TimeFloor::default(), deliver());
        Memo::open(&config, floor.clone(), &mut second);
        assert_eq!(second.plan_use(), used);
        assert!(floor.utc_ms() >= utc_ms + i64::try_from(LOOK_MS).unwrap());

        fs::write(folder.path().join("spool.memo"), "{\"month\": -").unwrap();
        let mut third = deliver();
        Memo::open(&config, TimeFloor::default(), &mut third);
        assert_eq!(third.plan_use(), PlanUse::default());
    }

    #[test]
    fn a_time_that_nobody_vouches_for_starts_no_month_and_moves_no_floor() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        for (source, utc_ms) in [
            (ClockSource::Fake, BUILD_UTC_MS + 400 * DAY_MS),
            (ClockSource::Gnss, BUILD_UTC_MS + 2 * YEARS_MS_MAX),
        ] {
            let (floor, mut deliver) = (TimeFloor::default(), deliver());
            let before_ms = floor.utc_ms();
            let mut memo = Memo::open(&config, floor.clone(), &mut deliver);
            memo.turn(at(0), anchor(source, utc_ms), &mut deliver);
            assert!(floor.utc_ms() < before_ms + DAY_MS);
        }
    }
}
