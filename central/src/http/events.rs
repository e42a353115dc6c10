//! The stream of events: what the desk has committed, in its order, and the fleet as it is each second.
//!
//! Promises: behind the last id that a reader names, every event of the desk comes once and in order; an event that
//! is no longer kept is not skipped in silence, but said with `reset`; what has no id (`fleet`) is a state, of
//! which only the newest counts. Never: a reader that makes another one wait.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{IntoResponse, Response, Sse as Stream};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::Shared;
use super::access::Viewer;
use super::fields::Fields;
use super::problem::{Problem, Refusals};
use crate::desk::Event;

/// Events that are fetched at once.
const PAGE: usize = 256;
/// A proxy or a phone network forgets a silent connection after a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Events as they come (`text/event-stream`): `alert`, `note`, `vehicle` with an id, `fleet`, `hello` and `reset`
/// without one.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", operation_id = "events",
    params(("after" = Option<i64>, Query, description = "go on behind this id; the header Last-Event-ID says the same, and counts more", minimum = 0, maximum = 9007199254740991i64)),
    responses((status = 200, body = String, content_type = "text/event-stream"), Refusals))]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    _: Viewer,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(query.as_deref())?;
    let after = fields.number("after", 0, ID_MAX)?;
    fields.end()?;
    let last = match headers.get("last-event-id") {
        Some(value) => Some(last_event_id(value.to_str().unwrap_or_default())?),
        None => after,
    };
    let Ok(place) = Arc::clone(&shared.event_places).try_acquire_owned() else {
        let limit = "http.events_max of the configuration";
        let detail = "too many event streams are open";
        return Err(
            Problem::field(StatusCode::SERVICE_UNAVAILABLE, "events", limit, detail).retry(5),
        );
    };
    let reader = Reader::new(shared, last, place);
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let alive = KeepAlive::new()
        .interval(KEEP_ALIVE)
        .event(Sse::default().event("pulse").data("{}"));
    Ok(Stream::new(events).keep_alive(alive).into_response())
}

/// What a script in a browser can count to.
const ID_MAX: i64 = 9_007_199_254_740_991;

fn last_event_id(text: &str) -> Result<i64, Problem> {
    let number = text
        .parse::<i64>()
        .ok()
        .filter(|id| (0..=ID_MAX).contains(id));
    number.ok_or_else(|| Problem::bad("last-event-id", format!("0 to {ID_MAX}"), text))
}

/// One open stream.
struct Reader {
    shared: Arc<Shared>,
    /// The last event that was sent.
    last: i64,
    waiting: VecDeque<Sse>,
    wakeups: watch::Receiver<i64>,
    changes: broadcast::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared
            .counts
            .events_open
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reader {
    fn new(shared: Arc<Shared>, last: Option<i64>, place: OwnedSemaphorePermit) -> Self {
        let newest = shared.desk.last_event();
        // An id of a log that is gone (another file, a restored one) names nothing here.
        let is_foreign = last.is_some_and(|last| last > newest);
        let last = last.filter(|_| !is_foreign).unwrap_or(newest);
        let mut waiting = VecDeque::new();
        let hello = json!({ "last_event": last, "version": env!("CARGO_PKG_VERSION") });
        waiting.push_back(
            Sse::default()
                .event("hello")
                .retry(RETRY)
                .data(hello.to_string()),
        );
        if is_foreign {
            waiting.push_back(reset(newest));
        }
        shared.counts.events_open.fetch_add(1, Ordering::Relaxed);
        Self {
            wakeups: shared.desk.wakeups(),
            changes: shared.board.changes(),
            shared,
            last,
            waiting,
            _place: place,
        }
    }

    async fn next(&mut self) -> Option<Sse> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if *self.wakeups.borrow_and_update() > self.last {
                self.fetch().await?;
                continue;
            }
            tokio::select! {
                woken = self.wakeups.changed() => woken.ok()?,
                change = self.changes.recv() => match change {
                    Ok(json) => {
                        let text = String::from_utf8_lossy(&json).into_owned();
                        return Some(Sse::default().event("fleet").data(text));
                    }
                    // What was missed is in the list; a state needs no history.
                    Err(broadcast::error::RecvError::Lagged(_)) => return Some(reset(self.last)),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Takes the next events of the desk. `None` ends the stream: the reader comes again with its last id.
    async fn fetch(&mut self) -> Option<()> {
        let (desk, last) = (self.shared.desk.clone(), self.last);
        let fetched = tokio::task::spawn_blocking(move || {
            let first = desk.event_bounds()?.map_or(0, |(first, _)| first);
            Ok::<_, crate::desk::StoreError>((first, desk.events_after(last, PAGE)?))
        });
        let (first, events) = match fetched.await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(error)) => {
                tracing::warn!(%error, "events cannot be read");
                return None;
            }
            Err(_) => return None,
        };
        if last + 1 < first {
            self.last = self.shared.desk.last_event();
            self.waiting.push_back(reset(self.last));
            return Some(());
        }
        self.last = events.last().map_or(last, |event| event.id);
        self.waiting.extend(events.iter().map(|event| sse(event)));
        Some(())
    }
}

fn sse(event: &Event) -> Sse {
    Sse::default()
        .id(event.id.to_string())
        .event(event.kind.name())
        .data(&event.body)
}

fn reset(last: i64) -> Sse {
    Sse::default()
        .event("reset")
        .data(json!({ "last_event": last }).to_string())
}
