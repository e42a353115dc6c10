//! A client of QEMU's machine protocol: JSON objects, one per line, over a unix socket.
//!
//! Promises: one command at a time, and its own answer; events in between are skipped. Never: a wait
//! without an end: the socket carries a read timeout.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection in command mode.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    next_id: u64,
}

impl Qmp {
    /// Reads the greeting and enters command mode.
    ///
    /// # Errors
    /// When the peer is not QEMU or does not answer.
    pub fn start(socket: UnixStream) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let writer = socket.try_clone()?;
        let mut qmp = Self {
            reader: BufReader::new(socket),
            writer,
            next_id: 0,
        };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            bail!("QMP began with {greeting} instead of its greeting");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns what it returns.
    ///
    /// # Errors
    /// When QEMU refuses the command or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = json!({ "execute": command, "arguments": arguments, "id": id }).to_string();
        line.push('\n');
        self.writer
            .write_all(line.as_bytes())
            .with_context(|| format!("send QMP {command}"))?;
        loop {
            let mut answer = self.line().with_context(|| format!("QMP {command}"))?;
            if answer.get("id") != Some(&json!(id)) {
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("QMP {command} was refused: {error}");
            }
            return answer.get_mut("return").map(Value::take).with_context(|| {
                format!("QMP {command} was answered with neither a return nor an error")
            });
        }
    }

    /// Cuts or restores the link of a network device.
    ///
    /// # Errors
    /// When QEMU does not know it.
    pub fn set_link(&mut self, name: &str, up: bool) -> anyhow::Result<()> {
        self.execute("set_link", json!({ "name": name, "up": up }))?;
        Ok(())
    }

    /// Sets the temperature at a chip of the board.
    ///
    /// # Errors
    /// When QEMU does not know it.
    pub fn set_temperature(&mut self, chip: &str, milli_deg_c: i64) -> anyhow::Result<()> {
        let arguments = json!({ "path": chip, "property": "temperature", "value": milli_deg_c });
        self.execute("qom-set", arguments)?;
        Ok(())
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        let len = self.reader.read_line(&mut line).context("read from QMP")?;
        if len == 0 {
            bail!("QEMU closed QMP");
        }
        serde_json::from_str(&line).with_context(|| format!("QMP sent {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Plays QEMU: says the lines, then hands back what it was told.
    fn played(lines: &'static [&'static str]) -> (UnixStream, thread::JoinHandle<Vec<Value>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            for line in lines {
                writeln!(writer, "{line}").unwrap();
            }
            writer.shutdown(std::net::Shutdown::Write).unwrap();
            BufReader::new(theirs)
                .lines()
                .map(|l| serde_json::from_str(&l.unwrap()).unwrap())
                .collect()
        });
        (ours, thread)
    }

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    #[test]
    fn a_command_gets_its_own_answer_past_events_and_stale_answers() {
        let (socket, played) = played(&[
            GREETING,
            r#"{"return": {}, "id": 0}"#,
            r#"{"event": "RESUME"}"#,
            r#"{"return": "stale", "id": 0}"#,
            r#"{"return": {"status": "running"}, "id": 1}"#,
        ]);
        let mut qmp = Qmp::start(socket).unwrap();
        let status = qmp.execute("query-status", json!({})).unwrap();
        assert_eq!(status, json!({"status": "running"}));
        drop(qmp);
        let told = played.join().unwrap();
        assert_eq!(told[0]["execute"], "qmp_capabilities");
        assert_eq!(
            told[1],
            json!({"execute": "query-status", "arguments": {}, "id": 1})
        );
    }

    #[test]
    fn a_refusal_carries_what_qemu_said() {
        let (socket, _played) = played(&[
            GREETING,
            r#"{"return": {}, "id": 0}"#,
            r#"{"error": {"class": "GenericError", "desc": "no n0"}, "id": 1}"#,
        ]);
        let mut qmp = Qmp::start(socket).unwrap();
        let error = qmp.set_link("n0", false).unwrap_err().to_string();
        assert!(
            error.contains("set_link") && error.contains("no n0"),
            "{error}"
        );
    }

    #[test]
    fn a_peer_that_is_not_qemu_or_goes_away_is_an_error() {
        let (socket, _played) = played(&[r#"{"hello": 1}"#]);
        assert!(Qmp::start(socket).is_err());
        let (socket, _played) = played(&[GREETING, "not json"]);
        assert!(Qmp::start(socket).is_err());
        let (socket, _played) = played(&[GREETING]);
        assert!(format!("{:#}", Qmp::start(socket).unwrap_err()).contains("QEMU closed QMP"));
    }
}
