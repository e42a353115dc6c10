//! The subscription.

use std::io::Write;

use anyhow::Context;
use firmware_shared::alert::Alert;
use firmware_shared::topic::{self, Leaf};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

use super::select::{Seen, Selection};
use super::{order, show};
use crate::backoff::Backoff;
use crate::clock;
use crate::committer::{Delivery, Place};
use crate::config::External;
use crate::desk::Notification;
use crate::glob;
use crate::mqtt::{self, LinkConfig, Listener, Taken, Voice};

const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 10_000;

/// Where to listen, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) reach: External,
    pub(crate) prefix: String,
    pub(crate) source: Source,
}

/// Whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The vehicles', as they say it.
    Vehicles,
    /// The desk's, through a route of kind mqtt: with group and role, late ones marked, floods collapsed.
    Desk { group: String, role: String },
}

impl Target {
    fn filters(&self) -> Vec<String> {
        let Self { prefix, source, .. } = self;
        match source {
            Source::Vehicles => vec![
                format!("{prefix}/+/+/alert"),
                format!("{prefix}/central/alert"),
            ],
            Source::Desk { .. } => vec![format!("{prefix}/alerts/+/+")],
        }
    }
}

/// Prints what is selected.
struct Printer<'a> {
    target: &'a Target,
    selection: &'a Selection,
    as_json: bool,
    out: &'a mut dyn Write,
    seen: Seen,
    is_closed: bool,
}

impl Printer<'_> {
    fn print(&mut self, delivery: &Delivery) {
        match &self.target.source {
            Source::Vehicles => self.print_vehicle(delivery),
            Source::Desk { group, role } => {
                let (group, role) = (group.clone(), role.clone());
                self.print_desk(delivery, &group, &role);
            }
        }
    }

    fn print_desk(&mut self, delivery: &Delivery, group: &str, role: &str) {
        let notification = std::str::from_utf8(&delivery.payload)
            .map_err(|error| error.to_string())
            .and_then(|text| Notification::parse(text).map_err(|error| error.to_string()));
        let notification = match notification {
            Ok(notification) => notification,
            Err(error) => {
                tracing::warn!(topic = delivery.topic, error, "not a notification");
                return;
            }
        };
        let item = &notification.alert;
        let is_in_group = match item.groups.is_empty() {
            true => glob::matches(group, "none"),
            false => item.groups.iter().any(|name| glob::matches(group, name)),
        };
        let is_wanted = is_in_group
            && glob::matches(role, &item.role)
            && self.selection.takes(&item.device, &item.kind, item.severity)
            // One publish per group of the device.
            && self.seen.is_first_key(&notification.key);
        if is_wanted {
            let line = match self.as_json {
                true => String::from_utf8_lossy(&delivery.payload).into_owned(),
                false => format!("{} {}", notification.transition, order::line(item)),
            };
            self.write(&line);
        }
    }

    fn write(&mut self, line: &str) {
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        // Nobody reads any more: the subscription is over.
        self.is_closed |= written.is_err();
    }

    fn print_vehicle(&mut self, delivery: &Delivery) {
        let prefix = &self.target.prefix;
        let is_of_centre = delivery.topic == format!("{prefix}/central/alert");
        let device = match topic::parse(prefix, &delivery.topic) {
            Some((device, Leaf::Alert)) => Some(device),
            _ if is_of_centre => None,
            _ => return,
        };
        let alert: Alert = match serde_json::from_slice(&delivery.payload) {
            Ok(alert) => alert,
            Err(error) => {
                tracing::warn!(topic = delivery.topic, %error, "not an alert");
                return;
            }
        };
        let is_wanted = device.is_none_or(|device| alert.device == device)
            && self
                .selection
                .takes(alert.device.as_str(), &alert.kind, alert.severity)
            && self.seen.is_first(&alert);
        if is_wanted {
            let line = show::line(&show::marked(alert, clock::utc_ms()), self.as_json);
            self.write(&line);
        }
    }
}

impl Listener for Printer<'_> {
    fn subscribed(&mut self) {
        tracing::info!("listening for alerts");
    }

    fn publish(&mut self, delivery: Delivery) -> Taken {
        self.print(&delivery);
        if self.is_closed {
            Taken::Over
        } else {
            Taken::Yes
        }
    }
}

/// Prints alerts as they come, until a signal or until nobody reads them any more.
///
/// # Errors
/// When signals or random numbers cannot be had.
pub(crate) fn follow(
    target: &Target,
    selection: &Selection,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let seed = clock::random_u64().context("the operating system gives no random numbers")?;
    let (stop_in, stop) = watch::channel(false);
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot watch signals")?;
    let handle = signals.handle();
    let thread = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                stop_in.send_replace(true);
            }
        })?;
    let printer = Printer {
        target,
        selection,
        as_json,
        out,
        seen: Seen::default(),
        is_closed: false,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(listen(target, printer, seed, stop));
    handle.close();
    drop(thread.join());
    Ok(())
}

async fn listen(
    target: &Target,
    mut printer: Printer<'_>,
    seed: u64,
    mut stop: watch::Receiver<bool>,
) {
    let config = LinkConfig {
        reach: target.reach.clone(),
        client_id: format!("fleet-alerts-{seed:016x}"),
        is_persistent: false,
        filters: target.filters(),
        self_test: None,
    };
    let (_said_in, mut said) = mpsc::channel(1);
    let (_acked_in, mut acked) = watch::channel(Place::default());
    let work = async {
        let mut backoff = Backoff::new(RETRY_MS_MIN, RETRY_MS_MAX, seed);
        for number in 1.. {
            let voice = Voice {
                said: &mut said,
                acked: &mut acked,
            };
            let end = mqtt::connection(&config, number, &mut printer, voice).await;
            if printer.is_closed {
                return;
            }
            let wait_ms = backoff.next_ms();
            if let Err(error) = end {
                tracing::warn!(%error, wait_ms, "no connection to the broker");
            }
            let pause = std::future::pending::<()>();
            drop(tokio::time::timeout(Duration::from_millis(wait_ms), pause).await);
        }
    };
    tokio::select! {
        () = work => {}
        // An error means that the signal thread is gone, which is a stop, too.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
