//! A browser of a test's own: headless Chromium behind chromedriver, spoken to by WebDriver.
//!
//! Promises: a fresh profile in a temporary folder, loopback only, both processes ended by their own id. WebDriver is
//! five JSON requests here; the crate that speaks all of it brings a licence (MPL-2.0) that is not on our list.
//! Never: a browser that was there before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::link::free_port;
use crate::process::{Process, Program};
use crate::{wait, web};

/// A browser may take so long to start or to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the browser pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1280 by 900.
    Desktop,
    /// 390 by 844, with touch.
    Phone,
}

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
    _driver: Process,
    _folder: TempDir,
}

/// Where chromium and chromedriver are, if they are.
#[must_use]
pub fn programs() -> Option<(PathBuf, PathBuf)> {
    let find = |names: &[&str]| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .flat_map(|folder| {
                names
                    .iter()
                    .map(move |name| folder.join(name))
                    .collect::<Vec<_>>()
            })
            .find(|file| file.is_file())
    };
    Some((
        find(&["chromium", "chromium-browser", "google-chrome"])?,
        find(&["chromedriver"])?,
    ))
}

impl Browser {
    /// Starts one.
    ///
    /// # Errors
    /// When a program is missing or does not come up.
    pub fn start(screen: Screen) -> anyhow::Result<Self> {
        let (chromium, chromedriver) = programs().context("chromium is not installed")?;
        let folder = tempfile::Builder::new().prefix("fleet-browser").tempdir()?;
        let port = free_port()?;
        let log = folder.path().join("chromedriver.log");
        let args = [format!("--port={port}")];
        let mut driver = Program::new(chromedriver).start("chromedriver", args, &log)?;
        wait::until_true("chromedriver answers", PATIENCE, || {
            driver.assert_running()?;
            let status = exchange(port, "GET", "/status", None);
            Ok(status.is_ok_and(|status| status.get("ready") == Some(&Value::Bool(true))))
        })?;
        let asked = capabilities(&chromium, &folder.path().join("profile"), screen);
        let answer = exchange(port, "POST", "/session", Some(&asked))?;
        let session = answer.get("sessionId").and_then(Value::as_str);
        let session = session.context("no session")?.to_owned();
        Ok(Self {
            port,
            session,
            _driver: driver,
            _folder: folder,
        })
    }

    fn command(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let path = format!("/session/{}/{path}", self.session);
        exchange(self.port, "POST", &path, Some(body))
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command("url", &json!({ "url": url })).map(drop)
    }

    /// The value of a script: `return ...`.
    ///
    /// # Errors
    /// When the script fails.
    pub fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
            .with_context(|| script.to_owned())
    }

    /// Waits until a script returns something that is not false, null or 0.
    ///
    /// # Errors
    /// When that takes too long; the error holds the text of the page.
    pub fn wait_for(&self, what: &str, script: &str) -> anyhow::Result<Value> {
        let found = wait::until(what, PATIENCE, || {
            let value = self.run(script)?;
            let is_true = !(value.is_null() || value == false || value == 0 || value == "");
            Ok(is_true.then_some(value))
        });
        found.with_context(|| {
            let text = self.run("return document.body.innerText.slice(0, 1500)");
            format!("the page reads: {}", text.unwrap_or_default())
        })
    }

    /// Writes what is seen to a PNG file.
    ///
    /// # Errors
    /// When there is no picture or no folder for it.
    pub fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let path = format!("/session/{}/screenshot", self.session);
        let picture = exchange(self.port, "GET", &path, None)?;
        let bytes = from_base64(picture.as_str().context("no picture")?);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, bytes)?)
    }
}

/// Ends the browser; chromedriver goes with its process.
impl Drop for Browser {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        exchange(self.port, "DELETE", &path, None).ok();
    }
}

fn capabilities(chromium: &Path, profile: &Path, screen: Screen) -> Value {
    let mut args = vec![
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        // A container has a small /dev/shm.
        "--disable-dev-shm-usage".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    let phone =
        json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2, "touch": true } });
    let options = match screen {
        Screen::Desktop => {
            args.push("--window-size=1280,900".to_owned());
            json!({ "binary": chromium, "args": args })
        }
        Screen::Phone => json!({ "binary": chromium, "args": args, "mobileEmulation": phone }),
    };
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options, "acceptInsecureCerts": true,
        "timeouts": { "script": 30_000, "pageLoad": 60_000 }
    } } })
}

/// One request to chromedriver: the `value` of its answer.
fn exchange(port: u16, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let answer = web::request(port, method, path, "", body)?;
    let value = answer.json()?.get("value").cloned().unwrap_or_default();
    anyhow::ensure!(answer.status == 200, "{path}: {value}");
    Ok(value)
}

fn from_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for symbol in text.bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
