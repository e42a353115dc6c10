//! A group of publishes becomes one commit.
//!
//! Promises: after `Ok` the group is on disk; after an error nothing of it is, and the same group can be
//! given again; a publish that the database refuses for good is set aside alone and holds up nothing.
//! Never: a clock, a socket, a wait.

use crate::ingest::{Answer, Core, CoreConfig, Sink, SinkError};

/// A publish as the broker handed it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Which connection it came over, and the how-manieth publish of it.
    pub(crate) place: Place,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

/// Where a publish stands, for the acknowledgement to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) connection: u64,
    /// Counts from 1.
    pub(crate) index: u64,
}

/// Core and sink together.
#[derive(Debug)]
pub(crate) struct Committer<S> {
    core: Core,
    sink: S,
}

impl<S: Sink> Committer<S> {
    pub(crate) fn new(config: CoreConfig, sink: S) -> Self {
        Self {
            core: Core::new(config),
            sink,
        }
    }

    /// Commits the whole group.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`]: nothing is committed; give the same group again later.
    pub(crate) fn commit(&mut self, now_ms: i64, group: &[Delivery]) -> Result<(), SinkError> {
        match self.attempt(now_ms, group) {
            Err(SinkError::Refused(_)) if group.len() > 1 => {
                // One of them is poison: each by itself tells which. What is committed before an error
                // comes back as a duplicate.
                group
                    .iter()
                    .try_for_each(|delivery| self.commit_alone(now_ms, delivery))
            }
            Err(SinkError::Refused(detail)) => match group.first() {
                Some(delivery) => self.set_aside(now_ms, delivery, &detail),
                None => Err(SinkError::Unavailable(detail)),
            },
            result => result,
        }
    }

    fn commit_alone(&mut self, now_ms: i64, delivery: &Delivery) -> Result<(), SinkError> {
        match self.attempt(now_ms, std::slice::from_ref(delivery)) {
            Err(SinkError::Refused(detail)) => self.set_aside(now_ms, delivery, &detail),
            result => result,
        }
    }

    fn set_aside(
        &mut self,
        now_ms: i64,
        delivery: &Delivery,
        detail: &str,
    ) -> Result<(), SinkError> {
        tracing::error!(topic = %delivery.topic, detail, "the database refuses a frame; it is set aside");
        self.core.set_aside(
            &mut self.sink,
            now_ms,
            &delivery.topic,
            &delivery.payload,
            detail,
        );
        self.settle(|core, sink| core.commit(sink))
            .map_err(|error| match error {
                SinkError::Refused(detail) => SinkError::Unavailable(detail),
                unavailable => unavailable,
            })
    }

    fn attempt(&mut self, now_ms: i64, group: &[Delivery]) -> Result<(), SinkError> {
        self.settle(|core, sink| {
            for delivery in group {
                core.handle(sink, now_ms, &delivery.topic, &delivery.payload)?;
            }
            core.commit(sink)
        })
    }

    /// After an error the core begins again from what the sink has.
    fn settle<T>(
        &mut self,
        action: impl FnOnce(&mut Core, &mut S) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let result = action(&mut self.core, &mut self.sink);
        if result.is_err() {
            self.core.forget();
        }
        result
    }

    /// What is to be said to devices, all of it committed.
    ///
    /// # Errors
    /// When the sink cannot be read; what is due stays due.
    pub(crate) fn answers(&mut self, mono_ms: u64) -> Result<Vec<Answer>, SinkError> {
        self.settle(|core, sink| core.answers(sink, mono_ms))
    }

    /// When the next answer becomes due.
    pub(crate) fn deadline(&self, mono_ms: u64) -> Option<u64> {
        self.core.deadline(mono_ms)
    }

    /// What is done once, before the first publish: frames that an earlier version could not read.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub(crate) fn resume(&mut self, now_ms: i64) -> Result<(), SinkError> {
        self.settle(|core, sink| {
            core.resume_upkeep(sink)?;
            while core.decode_step(sink, now_ms)? {}
            Ok(())
        })
    }

    /// Asks the devices whose gaps do not close, and paces those that fill theirs.
    pub(crate) fn watch_gaps(&mut self, mono_ms: u64) {
        self.core.watch_gaps(mono_ms);
        self.core.pace(mono_ms);
    }

    /// Whether rows wait for their UTC.
    pub(crate) fn has_upkeep(&self) -> bool {
        self.core.has_upkeep()
    }

    /// Dates one step of rows.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub(crate) fn date_rows(&mut self) -> Result<(), SinkError> {
        self.settle(|core, sink| core.date_rows(sink))
    }

    /// Deletes one step of what was received before; tells whether there may be more.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub(crate) fn expire_step(&mut self, before_ms: i64) -> Result<bool, SinkError> {
        self.settle(|core, sink| core.expire_step(sink, before_ms))
    }

    #[cfg(test)]
    pub(crate) fn sink(&self) -> &S {
        &self.sink
    }
}
