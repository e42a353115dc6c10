//! The broker for displays on the vehicle: a child process, `fleet-gateway-broker`, with the library inside.
//!
//! ```text
//!  notify thread --bounded, never waits--> keeper thread --stdin--> fleet-gateway-broker --MQTT--> displays
//!                                            ^ what is retained           |
//!                                            +-------- stderr: words, end-+
//! ```
//! Promises: `local/alerts/ID` holds the last transition of each alert that is not closed, retained, and
//! `local/alerts/open` the list of those that are open; a child that dies or takes nothing is started again, each
//! time after a longer wait, and told all of it; it ends with the gateway, also with one that is killed; the login
//! goes through the pipe alone. Never: a wait for the child in another thread than its own; whoever may connect
//! may also publish.

mod child;
mod keeper;
mod program;
mod restarts;
mod retained;
#[cfg(test)]
mod tests;

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use crate::config::LocalBrokerConfig;
use keeper::Keeper;
pub use program::{NoProgram, find_program};
use retained::Message;

/// What everybody listens below.
const TOPIC: &str = "local/alerts";
/// Messages that may wait for a child that is slow: each alert that may wait is three.
const MESSAGES_MAX: usize = 3 * super::NOTICES_MAX;
const STACK_LEN: usize = 256 * 1024;

/// The way to the thread that keeps the broker.
#[derive(Debug)]
pub(super) struct LocalBroker {
    messages: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    dropped: u64,
}

impl LocalBroker {
    /// Starts the thread, which starts the broker.
    pub(super) fn start(config: &LocalBrokerConfig) -> io::Result<Self> {
        let (sender, messages) = bounded(MESSAGES_MAX);
        let keeper = Keeper::new(config.clone());
        let thread = std::thread::Builder::new()
            .name("local-broker".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || keeper.run(&messages))?;
        Ok(Self {
            messages: Some(sender),
            thread: Some(thread),
            dropped: 0,
        })
    }

    /// Tells a transition.
    pub(super) fn tell(&mut self, id: &str, json: &str, is_over: bool) {
        let topic = format!("{TOPIC}/{id}");
        self.send(Message::new(&topic, json, !is_over));
        if is_over {
            // Nothing is what takes a retained message away.
            self.send(Message::new(&topic, "", true));
        }
    }

    /// Tells what is open.
    pub(super) fn tell_open(&mut self, json: &str) {
        self.send(Message::new(&format!("{TOPIC}/open"), json, true));
    }

    /// Tells what waits, and ends the broker.
    pub(super) fn close(&mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            // A panic there would have ended the process.
            thread.join().ok();
        }
    }

    fn send(&mut self, message: Message) {
        if let Some(messages) = &self.messages
            && messages.try_send(message).is_err()
        {
            self.dropped += 1;
            tracing::warn!(
                dropped = self.dropped,
                "the local broker is behind; a message is not told to it"
            );
        }
    }
}
