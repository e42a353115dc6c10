//! The datagram socket of the service manager, as sd_notify(3) describes it.
//!
//! Promises: a message that cannot be sent at once is dropped. Never: a failure of the gateway because nobody
//! listens.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::{Sign, Vigil};

/// What the supervisor has put into the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Orders {
    socket: Option<OsString>,
    watchdog_us: Option<OsString>,
    watchdog_pid: Option<OsString>,
}

/// The end of the line to the supervisor.
#[derive(Debug)]
pub struct Notifier {
    line: Option<(UnixDatagram, SocketAddr)>,
    vigil: Vigil,
    is_ready: bool,
}

impl Notifier {
    /// As the environment says; silent where it says nothing.
    #[must_use]
    pub fn from_environment(has_samplers: bool, now_ms: u64) -> Self {
        let orders = Orders {
            socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_us: std::env::var_os("WATCHDOG_USEC"),
            watchdog_pid: std::env::var_os("WATCHDOG_PID"),
        };
        Self::new(&orders, has_samplers, now_ms)
    }

    fn new(orders: &Orders, has_samplers: bool, now_ms: u64) -> Self {
        let line = orders.socket.as_deref().and_then(|name| {
            let line = connect(name);
            if let Err(error) = &line {
                tracing::warn!(?name, %error, "the supervisor cannot be told anything");
            }
            line.ok()
        });
        let limit_ms = line.as_ref().and_then(|_| orders.limit_ms());
        Self {
            line,
            vigil: Vigil::new(limit_ms, has_samplers, now_ms),
            is_ready: false,
        }
    }

    /// To be called at the end of each turn; `state` is for people and asked for when something is sent.
    pub fn turned(&mut self, now_ms: u64, rounds: u64, state: impl FnOnce() -> String) {
        let sign = self.vigil.turned(now_ms, rounds);
        if sign == Sign::Stuck {
            tracing::error!(
                "no sampler has moved for a minute; the supervisor is told nothing more"
            );
        }
        if self.line.is_none() {
            return;
        }
        if !std::mem::replace(&mut self.is_ready, true) {
            self.send(&format!("READY=1\nSTATUS={}", state()));
        } else if sign == Sign::Alive {
            self.send(&format!("WATCHDOG=1\nSTATUS={}", state()));
        }
    }

    /// A clean stop begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.line else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, "the supervisor did not take a message");
        }
    }
}

impl Orders {
    /// After how long without a sign the supervisor gives this process up, ms.
    fn limit_ms(&self) -> Option<u64> {
        let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.parse::<u64>().ok();
        let is_ours = self.watchdog_pid.is_none()
            || number(&self.watchdog_pid) == Some(u64::from(std::process::id()));
        let limit_us = number(&self.watchdog_us).filter(|us| *us > 0)?;
        is_ours.then_some(limit_us.div_ceil(1000))
    }
}

/// A path, or the name of an abstract socket behind an @.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(socket: OsString) -> Orders {
        Orders {
            socket: Some(socket),
            watchdog_us: Some("40000000".into()),
            watchdog_pid: Some(std::process::id().to_string().into()),
        }
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    #[test]
    fn the_supervisor_hears_of_start_life_and_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        supervisor.set_nonblocking(true).unwrap();
        let mut notifier = Notifier::new(&orders(path.into()), true, 0);
        assert_eq!(heard(&supervisor), None);
        notifier.turned(0, 1, || "up".to_owned());
        assert_eq!(heard(&supervisor).as_deref(), Some("READY=1\nSTATUS=up"));
        notifier.turned(9_999, 2, || unreachable!("nothing is due"));
        assert_eq!(heard(&supervisor), None);
        notifier.turned(10_000, 3, || "well".to_owned());
        assert_eq!(
            heard(&supervisor).as_deref(),
            Some("WATCHDOG=1\nSTATUS=well")
        );
        notifier.stopping();
        assert!(heard(&supervisor).unwrap().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_socket_is_one_behind_an_at_sign() {
        let name = format!("fleet-gateway-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let supervisor = UnixDatagram::bind_addr(&address).unwrap();
        let mut notifier = Notifier::new(&orders(format!("@{name}").into()), false, 0);
        notifier.turned(0, 0, String::new);
        assert!(heard(&supervisor).unwrap().starts_with("READY=1\n"));
    }

    #[test]
    fn without_a_supervisor_or_with_one_that_is_gone_nothing_fails() {
        for orders in [Orders::default(), orders("/nowhere/notify".into())] {
            let mut notifier = Notifier::new(&orders, true, 0);
            notifier.turned(0, 0, String::new);
            notifier.stopping();
        }
    }

    #[test]
    fn a_watchdog_of_another_process_or_of_nonsense_is_none() {
        let limit = |us: &str, pid: Option<&str>| {
            Orders {
                socket: None,
                watchdog_us: Some(us.into()),
                watchdog_pid: pid.map(OsString::from),
            }
            .limit_ms()
        };
        let own = std::process::id().to_string();
        assert_eq!(limit("30000000", Some(&own)), Some(30_000));
        assert_eq!(limit("30000000", None), Some(30_000));
        for (us, pid) in [("30000000", Some("1")), ("0", None), ("soon", None)] {
            assert_eq!(limit(us, pid), None, "{us}");
        }
    }
}
