//! Brokers as real processes, each on a free loopback port with its own folder.
//!
//! Promises: a broker that was killed comes back at the same port with what it had on its disk. Never: a service
//! of the machine; a broker that somebody else started.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::fleet::PATIENCE;
use crate::link::free_port;
use crate::process::{Process, Program};
use crate::wait;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mosquitto.
    Mosquitto,
    /// nats-server with JetStream and its MQTT listener.
    Nats,
}

/// A broker process.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    program: Program,
    folder: PathBuf,
    config: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Broker {
    /// Writes the configuration of a broker that lets everybody in, and starts it; `more` are further lines.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(kind: Kind, program: &Path, folder: &Path, more: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let config = match kind {
            // As root it would change its user, who cannot write the folder.
            Kind::Mosquitto => {
                format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n{more}")
            }
            Kind::Nats => format!(
                "server_name: fleet\nlisten: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\" }}\n\
                 mqtt {{ host: \"127.0.0.1\", port: {port} }}\n{more}",
                free_port()?,
                folder.join("jetstream").display()
            ),
        };
        Self::with_config(kind, program, folder, port, &config)
    }

    /// Starts a broker with this configuration, which listens at this port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn with_config(
        kind: Kind,
        program: &Path,
        folder: &Path,
        port: u16,
        config: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join("broker.conf");
        std::fs::write(&file, config)?;
        let mut broker = Self {
            kind,
            program: Program::new(program),
            folder: folder.to_owned(),
            config: file,
            port,
            process: None,
        };
        broker.restart()?;
        Ok(broker)
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let args: [OsString; 2] = ["-c".into(), self.config.clone().into_os_string()];
        let log = self.folder.join("broker.log");
        let mut process = self.program.start("broker", args, &log)?;
        wait::until_true("the broker listens", PATIENCE, || {
            process.assert_running()?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the kill did not land.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.process
            .as_mut()
            .context("the broker was not started")?
            .kill_9()
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }
}
