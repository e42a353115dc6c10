//! The broker for displays on the vehicle, in a process of its own: what a client does to it cannot reach the
//! gateway. The only crate of the vehicle that names rumqttd.
//!
//! ```text
//!  stdin, a JSON object a line:  {"listen":"127.0.0.1:1884","login":null}                        once
//!                                {"topic":"local/alerts/open","payload":"[]","is_retained":true}  any number
//!  stderr:                       what is wrong, a sentence a line
//! ```
//! Promises: it ends with its standard input, so that a gateway that is killed leaves no orphan; a panic of its
//! library ends it, for the gateway to start it again and to tell what is retained; few connections and little
//! memory. Never: a secret among its arguments, in its environment or in what it prints; a fleet's broker;
//! whoever may connect may also publish.

mod broker;
mod input;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use broker::{Broken, Broker};
use input::{BadLine, Message, Settings};

/// Runs until standard input ends.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().count() > 1 {
        return tell(
            "it takes no arguments: fleet-gateway starts it, where [local_broker] is configured",
            2,
        );
    }
    end_with_panics();
    match serve(&mut std::io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure.to_string(), 1),
    }
}

fn tell(sentence: &str, code: u8) -> ExitCode {
    say(sentence);
    ExitCode::from(code)
}

/// A line for the gateway's log.
fn say(sentence: &str) {
    // Nobody is left to tell when stderr is closed.
    writeln!(std::io::stderr(), "{sentence}").ok();
}

/// A broker without one of its threads would look alive and be deaf.
fn end_with_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        say(&format!("the thread {name} has panicked: {info}"));
        std::process::exit(1);
    }));
}

fn serve(input: &mut impl BufRead) -> Result<(), Failure> {
    let settings: Settings = input::line(input)?.ok_or(Failure::NoSettings)?;
    let mut broker = Broker::start(settings)?;
    while let Some(message) = input::line::<Message>(input)? {
        broker.publish(message)?;
    }
    Ok(())
}

/// Why it ends before its input does.
#[derive(Debug)]
enum Failure {
    /// The input ended before it began.
    NoSettings,
    /// The gateway is not of this version.
    BadLine(BadLine),
    /// It cannot listen, or its library has ended.
    Broken(Broken),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSettings => f.write_str("standard input ended before the first line"),
            Self::BadLine(error) => error.fmt(f),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

impl From<BadLine> for Failure {
    fn from(error: BadLine) -> Self {
        Self::BadLine(error)
    }
}

impl From<Broken> for Failure {
    fn from(error: Broken) -> Self {
        Self::Broken(error)
    }
}
