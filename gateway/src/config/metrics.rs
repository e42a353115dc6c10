//! `[metrics]`: where Prometheus may ask.
//!
//! Promises: nothing listens unless `listen` is there; an address that other machines reach must be wanted in so
//! many words, as nobody is asked for a password there.

use std::net::SocketAddr;

use toml::Value;

use super::{ConfigError, Section};

/// `[metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsConfig {
    /// Where it listens; nowhere, without it.
    pub listen: Option<SocketAddr>,
}

pub(super) fn read(root: &mut Section<'_>) -> Result<MetricsConfig, ConfigError> {
    let mut section = root.section("metrics")?;
    let allowed = "an address with a port such as \"127.0.0.1:9464\"";
    let text = section.text_if_any("listen", allowed)?;
    let is_open = section.boolean("open_to_network", false)?;
    let listen = match text {
        None => None,
        Some(text) => {
            let parsed = text.parse::<SocketAddr>();
            Some(parsed.map_err(|_| section.refuse("listen", Value::String(text), allowed))?)
        }
    };
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && !is_open) {
        let allowed =
            "a loopback address, or open_to_network = true: nobody is asked for a password";
        return Err(section.refuse("listen", Value::String(listen.to_string()), allowed));
    }
    root.adopt("metrics", section)?;
    Ok(MetricsConfig { listen })
}
