//! `[budget]`: what the data plan of the vehicle allows.

use std::path::PathBuf;

use super::{ConfigError, Section};
use crate::forward::budget::{Plan, Plans};

/// `[budget]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetConfig {
    /// The plans.
    pub plans: Plans,
    /// While this file exists the vehicle is roaming; whoever runs the modem makes it.
    pub roaming_file: Option<PathBuf>,
}

/// A megabyte of a data plan.
const MB: u64 = 1_000_000;

pub(super) fn read(root: &mut Section<'_>) -> Result<BudgetConfig, ConfigError> {
    let mut section = root.section("budget")?;
    let home = Plan {
        bytes_per_s: limit(&mut section, "bytes_per_s", 1)?,
        month_bytes: limit(&mut section, "month_mb", MB)?,
    };
    let roaming_file = section.path_if_any("roaming_file")?;
    let roaming = Plan {
        bytes_per_s: limit(&mut section, "roaming_bytes_per_s", 1)?,
        month_bytes: limit(&mut section, "roaming_month_mb", MB)?,
    };
    let has_roaming = roaming != Plan::default();
    if has_roaming && roaming_file.is_none() {
        let allowed = "a file that exists while the vehicle is roaming";
        return Err(section.missing("roaming_file", allowed));
    }
    root.adopt("budget", section)?;
    Ok(BudgetConfig {
        plans: Plans {
            home,
            roaming: roaming_file.is_some().then_some(roaming),
        },
        roaming_file,
    })
}

/// A limit in units; 0 is none.
fn limit(
    section: &mut Section<'_>,
    name: &'static str,
    unit: u64,
) -> Result<Option<u64>, ConfigError> {
    let number = section.integer(name, 0_u32, 0..=u32::MAX)?;
    Ok((number > 0).then(|| u64::from(number) * unit))
}
