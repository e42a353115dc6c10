//! A PostgreSQL server of a test's own: a fresh cluster in a temporary folder, on a free loopback port.
//!
//! Promises: it runs as an unprivileged user, because the server refuses root; it is ended by its own id. Never: a
//! cluster that was there before.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tempfile::TempDir;

use crate::fleet::PATIENCE;
use crate::link::free_port;
use crate::process::{Process, Program};
use crate::wait;

/// Who runs the server when the test runs as root.
const USER: &str = "nobody";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// Makes a cluster with the programs of this folder, and starts it.
    ///
    /// # Errors
    /// When a program fails.
    pub fn start(programs: &Path) -> anyhow::Result<Self> {
        let mut server = Self {
            folder: tempfile::Builder::new().prefix("fleet-pg").tempdir()?,
            programs: programs.to_owned(),
            port: free_port()?,
            process: None,
        };
        if is_root() {
            let status = Command::new("chown")
                .arg(USER)
                .arg(server.folder.path())
                .status()?;
            anyhow::ensure!(status.success(), "chown: {status}");
        }
        let initdb = server.program("initdb");
        let output = initdb
            .command([
                OsString::from("--pgdata"),
                server.data().into_os_string(),
                "--username=fleet".into(),
                "--auth=trust".into(),
                "--encoding=UTF8".into(),
                "--no-locale".into(),
                "--no-sync".into(),
            ])
            .current_dir(server.folder.path())
            .output()?;
        anyhow::ensure!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        server.restart()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Program {
        let executable = self.programs.join(name);
        if !is_root() {
            return Program::new(executable);
        }
        let mut program = Program::new("setpriv");
        program.prefix = vec![
            format!("--reuid={USER}").into(),
            "--regid=nogroup".into(),
            "--clear-groups".into(),
            executable.into_os_string(),
        ];
        program
    }

    /// Starts the server, and waits until it takes connections. What a killed one left is recovered first.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let args: Vec<OsString> = vec![
            "-D".into(),
            self.data().into_os_string(),
            "-p".into(),
            self.port.to_string().into(),
            "-k".into(),
            self.folder.path().as_os_str().to_owned(),
            "-c".into(),
            "listen_addresses=127.0.0.1".into(),
        ];
        let log = self.folder.path().join("postgres.log");
        let program = self.program("postgres");
        let mut process = program.start("postgres", args.clone(), &log)?;
        let url = self.url();
        wait::until_true("PostgreSQL takes connections", PATIENCE, || {
            // The children of a killed server take a moment to notice; until then the next one gives up.
            if process.assert_running().is_err() {
                process = program.start("postgres", args.clone(), &log)?;
            }
            Ok(postgres::Client::connect(&url, postgres::NoTls).is_ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9` of the server; its children end by themselves.
    ///
    /// # Errors
    /// When the kill did not land.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.process
            .as_mut()
            .context("PostgreSQL was not started")?
            .kill_9()
    }

    /// A database of this server.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// A database of this server by its name.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgresql://fleet@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database; tells its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&self, database: &str) -> anyhow::Result<String> {
        let mut client = postgres::Client::connect(&self.url(), postgres::NoTls)?;
        client.batch_execute(&format!("CREATE DATABASE {database}"))?;
        Ok(self.url_of(database))
    }

    /// A program of PostgreSQL, as pg_dump.
    #[must_use]
    pub fn tool(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }
}

/// A server that is asked to stop writes what it holds; a test's own is just ended, children and all.
impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // SIGQUIT would be kinder to nobody: the cluster is thrown away.
            process.kill_9().ok();
        }
        if is_root() {
            // Files of another user in a folder of ours; the children may still be writing their last ones.
            wait::until_true("the cluster is thrown away", PATIENCE, || {
                Ok(std::fs::remove_dir_all(self.data()).is_ok() || !self.data().exists())
            })
            .ok();
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
