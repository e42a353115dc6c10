//! Keeps a broker running and tells it what displays must know.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, never, select};
use serde::Serialize;

use super::child::Child;
use super::program::find_program;
use super::restarts::Restarts;
use super::retained::{Message, Retained};
use crate::clock::boottime_ms;
use crate::config::LocalBrokerConfig;

/// How long a child may take nothing: its pipe holds what a vehicle tells in hours.
const SAY_MS_MAX: u64 = 5_000;

pub(super) struct Keeper {
    config: LocalBrokerConfig,
    retained: Retained,
    restarts: Restarts,
    child: Option<Child>,
    /// What was said of the last attempt, so that an hour of the same is one line.
    told: Option<String>,
}

/// The broker's first line.
#[derive(Serialize)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) login: Option<Login>,
}

#[derive(Serialize)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// A line of the broker's input.
pub(super) fn line(object: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    Ok(line)
}

impl Keeper {
    pub(super) fn new(config: LocalBrokerConfig) -> Self {
        Self {
            config,
            retained: Retained::default(),
            restarts: Restarts::new(),
            child: None,
            told: None,
        }
    }

    /// Until the other end of the messages is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        self.start();
        loop {
            let ended = self
                .child
                .as_ref()
                .map_or_else(never, |c| c.ended().clone());
            let due = self.restarts.due_ms().map_or_else(never, |due_ms| {
                after(Duration::from_millis(due_ms.saturating_sub(boottime_ms())))
            });
            select! {
                recv(messages) -> message => match message {
                    Ok(message) => self.tell(&message),
                    Err(_) => break,
                },
                recv(ended) -> _ => self.lose(None),
                recv(due) -> _ => self.start(),
            }
        }
        if let Some(child) = self.child.take() {
            child.end();
        }
    }

    fn start(&mut self) {
        self.restarts.started(boottime_ms());
        match self.begin() {
            Ok(child) => {
                self.child = Some(child);
                self.told = None;
            }
            Err(reason) => {
                let again_ms = self.restarts.ended(boottime_ms());
                if self.told.as_ref() != Some(&reason) {
                    tracing::error!(again_ms, reason, "there is no local broker");
                }
                self.told = Some(reason);
            }
        }
    }

    /// A child that has been told everything.
    fn begin(&self) -> Result<Child, String> {
        let program = find_program(&self.config).map_err(|error| error.to_string())?;
        let login = match &self.config.login {
            Some(login) => Some(login.read()?),
            None => None,
        };
        let settings = Settings {
            listen: self.config.listen,
            login: login.map(|login| Login {
                username: login.username,
                password: login.password,
            }),
        };
        self.introduce(&program, &settings)
            .map_err(|error| format!("{}: {error}", program.display()))
    }

    fn introduce(&self, program: &Path, settings: &Settings) -> io::Result<Child> {
        let mut child = Child::start(program)?;
        child.say(&line(settings)?, SAY_MS_MAX)?;
        for message in self.retained.messages() {
            child.say(&line(message)?, SAY_MS_MAX)?;
        }
        Ok(child)
    }

    fn tell(&mut self, message: &Message) {
        self.retained.hear(message);
        let Some(child) = &mut self.child else {
            return;
        };
        if let Err(error) = line(message).and_then(|line| child.say(&line, SAY_MS_MAX)) {
            self.lose(Some(error));
        }
    }

    /// The child has ended, or must: it takes nothing.
    fn lose(&mut self, error: Option<io::Error>) {
        let Some(child) = self.child.take() else {
            return;
        };
        let again_ms = self.restarts.ended(boottime_ms());
        let status = child.reap().map(|status| status.to_string());
        let status = status.unwrap_or_else(|error| error.to_string());
        let reason = error.map(|error| error.to_string());
        tracing::warn!(again_ms, status, reason, "the local broker has ended");
    }
}
