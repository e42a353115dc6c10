//! What the gateway says, a JSON object a line.
//!
//! Promises: a line that is no such object, or longer than [`LINE_LEN_MAX`], is told without its text: it may
//! hold a password.

use std::io::{self, BufRead, Read};
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The list of everything that can be wrong with a vehicle at once is a tenth of it.
const LINE_LEN_MAX: u64 = 1024 * 1024;

/// The first line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// Who may connect; everybody, without it.
    pub(crate) login: Option<Login>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Each line behind it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) topic: String,
    /// Empty and retained takes a retained one away.
    pub(crate) payload: String,
    pub(crate) is_retained: bool,
}

/// A line that was not understood.
#[derive(Debug)]
pub(crate) enum BadLine {
    Unreadable(io::Error),
    TooLong,
    /// Where in the line; serde's own words may quote it.
    NotOurs {
        column: usize,
    },
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "standard input: {error}"),
            Self::TooLong => write!(f, "a line is longer than {LINE_LEN_MAX} bytes"),
            Self::NotOurs { column } => write!(
                f,
                "a line is not understood at its byte {column}: fleet-gateway and fleet-gateway-broker must be \
                 of one version"
            ),
        }
    }
}

/// The next line; none when the gateway has closed its end, also in the middle of one.
pub(crate) fn line<T: DeserializeOwned>(input: &mut impl BufRead) -> Result<Option<T>, BadLine> {
    let mut line = Vec::new();
    let len = input
        .take(LINE_LEN_MAX)
        .read_until(b'\n', &mut line)
        .map_err(BadLine::Unreadable)?;
    match line.last() {
        Some(b'\n') => serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| BadLine::NotOurs {
                column: error.column(),
            }),
        _ if len as u64 == LINE_LEN_MAX => Err(BadLine::TooLong),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the gateway's own test says that it writes.
    const LINES: &str = include_str!("../tests/lines.jsonl");

    #[test]
    fn what_the_gateway_writes_is_understood() {
        let mut input = LINES.as_bytes();
        let settings: Settings = line(&mut input).unwrap().unwrap();
        assert_eq!(settings.listen, "127.0.0.1:1884".parse().unwrap());
        let login = settings.login.unwrap();
        assert_eq!((&*login.username, &*login.password), ("display", "hunter2"));
        let messages: Vec<Message> = std::iter::from_fn(|| line(&mut input).unwrap()).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(
            messages[1],
            Message {
                topic: "local/alerts/open".to_owned(),
                payload: "[]".to_owned(),
                is_retained: true,
            }
        );
        assert!(messages[0].payload.contains("\"über\""));
    }

    #[test]
    fn an_end_in_the_middle_of_a_line_is_an_end() {
        assert!(line::<Message>(&mut &b"{\"topic\":"[..]).unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_told_without_the_secret() {
        let secret = b"{\"listen\":\"127.0.0.1:1\",\"login\":\"hunter2\"}\n";
        let error = line::<Settings>(&mut &secret[..])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("of one version"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut endless = endless;
        let error = line::<Message>(&mut endless).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
