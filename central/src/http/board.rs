//! The fleet in memory, as it is each second.
//!
//! Promises: one question about what changed per second, however many look; the list is written as JSON once per
//! change. Never: an older state after a newer one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;

use super::Shared;
use crate::clock;
use crate::desk::VehicleState;
use crate::query::fleet::{Fleet, Vehicle};

/// People see a change within this time.
const PERIOD: Duration = Duration::from_secs(1);
/// Changes that a slow reader may be behind; then it is told to read the list anew.
const CHANGES_MAX: usize = 32;

/// The fleet as it was at the last look.
#[derive(Debug, Default)]
pub(super) struct View {
    /// UTC of the look; `None` before the first one.
    pub(super) looked_ms: Option<i64>,
    pub(super) vehicles: BTreeMap<String, Vehicle>,
    /// The list as JSON.
    pub(super) json: Bytes,
    /// The last event of the desk that is in it.
    event: i64,
}

/// Who shows the fleet, and to whom.
#[derive(Debug)]
pub(super) struct Board {
    fleet: Arc<Mutex<Fleet>>,
    view: watch::Sender<Arc<View>>,
    changes: broadcast::Sender<Bytes>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            fleet: Arc::default(),
            view: watch::Sender::new(Arc::default()),
            changes: broadcast::Sender::new(CHANGES_MAX),
        }
    }
}

/// A vehicle at a glance, and what the desk thinks of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    vehicle: Vehicle,
    /// Condition, open alerts, groups, and what the gateway said about itself; `null` while the desk does not know it.
    #[schema(value_type = Option<Object>)]
    desk: Option<VehicleState>,
}

/// What `/api/v1/vehicles` answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct VehicleList {
    /// The centre's UTC at which the list was made: ages count from here.
    pub(super) now_ms: i64,
    pub(super) vehicles: Vec<Shown>,
}

impl Board {
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Bytes> {
        self.changes.subscribe()
    }
}

/// Looks once a period, for ever.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_silent = false;
    loop {
        period.tick().await;
        match look(&shared).await {
            Ok(()) => is_silent = false,
            Err(error) if !is_silent => {
                tracing::warn!(%error, "the page shows the fleet as it was");
                is_silent = true;
            }
            Err(_) => {}
        }
    }
}

async fn look(shared: &Shared) -> Result<(), crate::query::QueryError> {
    let board = &shared.board;
    let fleet = Arc::clone(&board.fleet);
    let now_ms = clock::utc_ms();
    let (changed, vehicles) = shared
        .readers
        .ask(move |rows| {
            let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = fleet.refresh(rows, now_ms)?;
            let vehicles = (!changed.is_empty()).then(|| fleet.vehicles().clone());
            Ok((changed, vehicles))
        })
        .await?;
    let before = board.view();
    let event = shared.desk.last_event();
    let vehicles = match vehicles {
        Some(vehicles) => vehicles,
        // The first look at an empty database is a look, too.
        None if before.looked_ms.is_none() || before.event != event => before.vehicles.clone(),
        None => return Ok(()),
    };
    let shown = |vehicle: &Vehicle| Shown {
        desk: judged(shared, &vehicle.device),
        vehicle: vehicle.clone(),
    };
    let whole = VehicleList {
        now_ms,
        vehicles: vehicles.values().map(shown).collect(),
    };
    let fresh: Vec<Shown> = changed
        .iter()
        .filter_map(|name| vehicles.get(name))
        .map(shown)
        .collect();
    board.view.send_replace(Arc::new(View {
        looked_ms: Some(now_ms),
        json: json(&whole),
        vehicles,
        event,
    }));
    if !fresh.is_empty() {
        let fresh = VehicleList {
            now_ms,
            vehicles: fresh,
        };
        // Nobody may be listening.
        board.changes.send(json(&fresh)).ok();
    }
    Ok(())
}

/// What the desk thinks of a vehicle.
pub(super) fn judged(shared: &Shared, device: &str) -> Option<VehicleState> {
    let state = shared.desk.vehicle(device)?;
    Some(VehicleState::clone(&state))
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
