//! The page, its API, and what those who run the centre ask.
//!
//! ```text
//!  browser ──► server (connections, limits) ──► guard (who, how often) ──► a handler ──► readers ──► database
//!     ▲                                                                        │
//!     └── events: the desk's log, and the fleet as it is each second ◄─────────┴── desk
//! ```
//! Promises: what cannot be answered is answered with a problem that names field and limit; a slow, rude or
//! greedy client costs its own connection; nothing here can hold up the ingest. Never: a change that is not in
//! the desk's audit log; data without knowing who asks.
//!
//! Reading order: `server` and `wire` (connections), `access` (who may), `fields` and `problem` (what is asked and
//! refused), `board` (the fleet in memory), a file per group of paths, `files` (the page).

mod access;
mod alerts;
mod board;
mod events;
mod export;
mod fields;
mod files;
mod ops;
mod problem;
mod router;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod vehicles;
mod wire;

#[cfg(test)]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

pub(crate) use access::{check_users, hash, is_user_name};
pub(crate) use router::document;

use crate::config::{self, Place};
use crate::desk::Desk;
use crate::query::Readers;
use access::Access;
use board::Board;
use ops::Counts;
use server::Door;

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) access: Access,
    desk: Desk,
    readers: Readers,
    board: Board,
    counts: Counts,
    tiles_url: Option<String>,
    /// The files whose disks may fill up, and what is in them.
    files: Vec<(&'static str, PathBuf)>,
    /// Room for event streams.
    event_places: Arc<Semaphore>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Http {
    /// Where it is.
    pub(crate) url: String,
    #[cfg(test)]
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Http {
    /// Listens, and serves on threads of its own. `ended` is told when it ends by itself.
    ///
    /// # Errors
    /// When the address, a certificate or the users file cannot be used.
    pub(crate) fn start(
        http: &config::Page,
        place: &Place,
        desk: Desk,
        ended: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()?;
        let tls = http.tls.as_ref().map(|(cert, key)| server::tls(cert, key));
        let listener = runtime
            .block_on(TcpListener::bind(http.listen))
            .with_context(|| format!("cannot listen on {}", http.listen))?;
        let address = listener.local_addr()?;
        let door = Door {
            listener,
            tls: tls.transpose().map_err(anyhow::Error::msg)?,
            limits: http.limits,
        };
        let shared = Arc::new(Shared {
            access: Access::new(http).map_err(anyhow::Error::msg)?,
            files: files(place, &desk),
            desk,
            readers: Readers::start(place, http.limits.readers)?,
            board: Board::default(),
            counts: Counts::default(),
            tiles_url: http.tiles_url.clone(),
            event_places: Arc::new(Semaphore::new(http.limits.events_max as usize)),
        });
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("http-main".to_owned())
            .spawn(move || {
                run(runtime, door, &shared, stopped);
                ended();
            })?;
        let scheme = if http.tls.is_some() { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{address}/"),
            #[cfg(test)]
            address,
            stop,
            thread,
        })
    }

    /// Ends it; every connection is cut.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the page's server ended by a panic");
        }
    }
}

/// What this machine stores.
fn files(place: &Place, desk: &Desk) -> Vec<(&'static str, PathBuf)> {
    let mut files = vec![("desk", desk.file().to_owned())];
    if let Place::Sqlite(path) = place {
        files.push(("database", path.clone()));
    }
    files
}

fn run(runtime: Runtime, door: Door, shared: &Arc<Shared>, stopped: watch::Receiver<bool>) {
    let app = router::router(shared);
    runtime.block_on(async {
        let board = tokio::spawn(board::keep(Arc::clone(shared)));
        server::serve(door, app, stopped).await;
        board.abort();
    });
    runtime.shutdown_background();
}
