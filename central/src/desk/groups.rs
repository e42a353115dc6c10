//! Which device belongs to which groups.
//!
//! Promises: a device is in every group one of whose patterns it matches. Never: a group with another meaning per
//! route.

use crate::config::Group;
use crate::glob;

/// The groups of the configuration, in its order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    pub(crate) fn new(groups: &[Group]) -> Self {
        Self(groups.to_vec())
    }

    /// The names of the groups of a device.
    pub(crate) fn of(&self, device: &str) -> Vec<String> {
        self.matching(device)
            .map(|group| group.name.clone())
            .collect()
    }

    /// How long a device may be silent, ms: the first of its groups that says so decides.
    pub(crate) fn silent_after_ms(&self, device: &str, otherwise_s: u32) -> i64 {
        let said = self.matching(device).find_map(|group| group.silent_after_s);
        i64::from(said.unwrap_or(otherwise_s)) * 1_000
    }

    /// How long a sensor may be silent, ms.
    pub(crate) fn sensor_silent_after_ms(&self, device: &str, otherwise_s: u32) -> i64 {
        let said = self
            .matching(device)
            .find_map(|group| group.sensor_silent_after_s);
        i64::from(said.unwrap_or(otherwise_s)) * 1_000
    }

    fn matching<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a Group> {
        self.0.iter().filter(move |group| {
            group
                .devices
                .iter()
                .any(|pattern| glob::matches(pattern, device))
        })
    }
}
