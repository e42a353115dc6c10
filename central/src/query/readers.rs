//! The threads that read the database.
//!
//! Promises: a question waits in a queue with a bound, and is refused beyond it; a database that cannot be opened
//! is an answer, and is opened again for the next question. Never: a question on a thread of the server.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::postgres::PostgresRows;
use super::sqlite::SqliteRows;
use super::{QueryError, Rows};
use crate::config::Place;

/// Questions that may wait: what so many threads answer in a second or two.
const WAITING_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut dyn Rows) + Send>;

/// The way to the threads.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    jobs: Sender<Job>,
}

impl Readers {
    /// Starts so many threads. They end when the last `Readers` is gone.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(place: &Place, count: u8) -> io::Result<Self> {
        let (jobs, waiting) = bounded(WAITING_MAX);
        let place = Arc::new(place.clone());
        for number in 0..count {
            let (place, waiting) = (Arc::clone(&place), waiting.clone());
            std::thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(move || serve(&place, &waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Has a question answered.
    ///
    /// # Errors
    /// [`QueryError`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Rows) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let (answer_in, answer) = oneshot::channel();
        let job: Job = Box::new(move |rows| {
            // An asker who has left needs no answer.
            if !answer_in.is_closed() {
                answer_in.send(question(rows)).ok();
            }
        });
        self.jobs.try_send(job).map_err(|_| QueryError::Busy)?;
        let ended = || QueryError::Unavailable("a reader has ended".to_owned());
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// A database that is opened when it is first asked.
struct Lazy<'a> {
    place: &'a Place,
    open: Option<Box<dyn Rows>>,
}

impl Rows for Lazy<'_> {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[super::Cell],
        row: &mut dyn FnMut(super::Row<'_>),
    ) -> Result<(), QueryError> {
        let rows = match &mut self.open {
            Some(rows) => rows,
            None => {
                let rows: Box<dyn Rows> = match self.place {
                    Place::Sqlite(path) => Box::new(SqliteRows::open(path)?),
                    Place::Postgres(reach) => Box::new(PostgresRows::new(reach)?),
                };
                self.open.insert(rows)
            }
        };
        let result = rows.each(sql, params, row);
        if matches!(result, Err(QueryError::Unavailable(_))) {
            self.open = None;
        }
        result
    }
}

fn serve(place: &Place, waiting: &Receiver<Job>) {
    let mut rows = Lazy { place, open: None };
    for job in waiting {
        job(&mut rows);
    }
}

/// A database, opened here and now.
#[cfg(test)]
pub(super) fn open(place: &Place) -> Box<dyn Rows> {
    match place {
        Place::Sqlite(path) => Box::new(SqliteRows::open(path).unwrap()),
        Place::Postgres(reach) => Box::new(PostgresRows::new(reach).unwrap()),
    }
}
