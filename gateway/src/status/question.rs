//! A question on its way to the pipeline.
//!
//! Promises: few can wait, and who waits gives up after a second. Never: a reading that waits for one.

use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// A question; the answer goes back on its own channel.
#[derive(Debug)]
pub struct Question {
    /// Takes one answer.
    pub answer: Sender<Vec<u8>>,
}

/// Where the pipeline finds questions.
pub type Questions = Receiver<Question>;

/// Questions are asked by people and by one or two monitors: four can wait.
const QUESTIONS_MAX: usize = 4;
/// Longest wait for the pipeline or for the client.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever may ask.
#[derive(Debug, Clone)]
pub struct Asker {
    sender: Sender<Question>,
}

/// The way to the pipeline, and its end there.
#[must_use]
pub fn questions() -> (Asker, Questions) {
    let (sender, questions) = bounded(QUESTIONS_MAX);
    (Asker { sender }, questions)
}

impl Asker {
    /// The status as JSON.
    ///
    /// # Errors
    /// `WouldBlock` when too many wait, `TimedOut` when the pipeline has better things to do.
    pub(super) fn ask(&self) -> io::Result<Vec<u8>> {
        let (answer, answers) = bounded(1);
        self.sender
            .try_send(Question { answer })
            .map_err(|_| io::ErrorKind::WouldBlock)?;
        answers
            .recv_timeout(PATIENCE)
            .map_err(|_| io::ErrorKind::TimedOut.into())
    }
}
