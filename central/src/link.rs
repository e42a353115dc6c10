//! Connections to the broker, one after the other, for ever.
//!
//! Promises: after a connection ends the next is tried with jittered back-off, without end; what is said
//! meanwhile is dropped, because devices ask again; on a stop no further publish is taken, and what the
//! writer still says goes out before the goodbye. Never: a publish dropped that was taken.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::clock;
use crate::committer::{Delivery, Place};
use crate::desk::Vitals;
use crate::ingest::Answer;
use crate::mqtt::{self, LinkConfig, LinkError, Listener, Taken, Voice};

const RETRY_MS_MIN: u64 = 100;
const RETRY_MS_MAX: u64 = 2_000;
/// A connection that lasted so long was a good one.
const STABLE_MS: u64 = 30_000;
/// The own broker is asked so often whether it still lets anybody in ...
const PROBE_EVERY_MS: u64 = 15_000;
/// ... and so many refusals in a row mean that it is dead: its listener can be poisoned by a client.
const PROBE_FAILURES_MAX: u32 = 3;
const PROBE_TIMEOUT_MS: u64 = 10_000;

/// The ends of the channels that the link holds.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) inbox: Sender<Delivery>,
    pub(crate) said: mpsc::Receiver<Answer>,
    pub(crate) acked: watch::Receiver<Place>,
    /// Becomes true when the process stops.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) vitals: Arc<Vitals>,
}

/// Hands publishes to the writer while the process runs.
struct Intake<'a> {
    inbox: &'a RefCell<Option<Sender<Delivery>>>,
    vitals: &'a Vitals,
    subscribed_ms: Option<u64>,
}

impl Listener for Intake<'_> {
    fn subscribed(&mut self) {
        self.subscribed_ms = Some(clock::monotonic_ms());
        self.vitals.is_connected.store(true, Ordering::Relaxed);
        tracing::info!("subscribed");
    }

    fn publish(&mut self, delivery: Delivery) -> Taken {
        match self.inbox.borrow().as_ref() {
            Some(inbox) => match inbox.try_send(delivery) {
                Ok(()) => Taken::Yes,
                Err(TrySendError::Full(kept)) => Taken::Later(kept),
                Err(TrySendError::Disconnected(_)) => Taken::Over,
            },
            // Stopping: the broker keeps it.
            None => Taken::Yes,
        }
    }
}

/// Serves connections until the process stops and the writer has said everything.
///
/// # Errors
/// When the first subscription of this process delivers nothing. Later that is a connection like any other that
/// fails.
pub(crate) async fn serve(
    config: &LinkConfig,
    channels: Channels,
    jitter_seed: u64,
) -> Result<(), LinkError> {
    let Channels {
        inbox,
        mut said,
        mut acked,
        mut stop,
        vitals,
    } = channels;
    let inbox = RefCell::new(Some(inbox));
    let work = async {
        let mut backoff = Backoff::new(RETRY_MS_MIN, RETRY_MS_MAX, jitter_seed);
        let mut is_proven = false;
        for number in 1.. {
            let mut intake = Intake {
                inbox: &inbox,
                vitals: &vitals,
                subscribed_ms: None,
            };
            let voice = Voice {
                said: &mut said,
                acked: &mut acked,
            };
            let end = mqtt::connection(config, number, &mut intake, voice).await;
            vitals.is_connected.store(false, Ordering::Relaxed);
            let Err(error) = end else {
                return Ok(());
            };
            is_proven |= intake.subscribed_ms.is_some();
            if !is_proven && matches!(error, LinkError::SelfTest(_)) {
                tracing::error!(%error, "ingest refuses to run");
                return Err(error);
            }
            let lasted_ms = intake
                .subscribed_ms
                .map_or(0, |at| clock::monotonic_ms().saturating_sub(at));
            if lasted_ms >= STABLE_MS {
                backoff.reset();
            }
            let wait_ms = backoff.next_ms();
            tracing::warn!(%error, wait_ms, "no connection to the broker");
            if drain(&mut said, wait_ms).await {
                return Ok(());
            }
        }
        Ok(())
    };
    let close = async {
        // An error means that nobody can stop us any more, which is a stop, too.
        drop(stop.wait_for(|stop| *stop).await);
        inbox.borrow_mut().take();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = work => end,
        () = close => Ok(()),
    }
}

/// Drops what is said for so long; tells whether the writer is gone.
async fn drain(said: &mut mpsc::Receiver<Answer>, wait_ms: u64) -> bool {
    let until_gone = async { while said.recv().await.is_some() {} };
    tokio::time::timeout(Duration::from_millis(wait_ms), until_gone)
        .await
        .is_ok()
}

/// Watches the own broker; ends when it lets nobody in any more.
pub(crate) async fn watch_broker(config: &LinkConfig) {
    let mut failures = 0;
    while failures < PROBE_FAILURES_MAX {
        drop(
            tokio::time::timeout(
                Duration::from_millis(PROBE_EVERY_MS),
                std::future::pending::<()>(),
            )
            .await,
        );
        let probe = mqtt::probe(&config.reach, &config.client_id);
        let answer = tokio::time::timeout(Duration::from_millis(PROBE_TIMEOUT_MS), probe).await;
        match answer {
            Ok(Ok(())) => failures = 0,
            _ => failures += 1,
        }
    }
}
