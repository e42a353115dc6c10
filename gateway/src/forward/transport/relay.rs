//! A rendezvous inside this process: the MQTT library dials a local socket, the relay dials the broker.
//!
//! Promises: only this process gets in (the name is random, and the kernel says who called); nothing is kept
//! but what is on its way; when one side ends, the other ends after it has got everything. Never: a file (the
//! socket lives in the abstract namespace), a second caller.

use std::io;

use tokio::net::{UnixListener, UnixStream};

use super::{BrokerAddress, Failure, Keys, Route, TimeFloor, dial, websocket};

/// A rendezvous that waits for its caller.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: UnixListener,
    name: String,
}

impl Relay {
    /// Opens one under a random number.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub(crate) fn open(random: u64) -> io::Result<Self> {
        // A name that begins with a zero is in the abstract namespace.
        let name = format!("\0fleet-gateway-{}-{random:016x}", std::process::id());
        let listener = UnixListener::bind(&name)?;
        Ok(Self { listener, name })
    }

    /// What to dial.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Dials the broker, then lets the caller in and carries bytes until one side ends. `Ok` when the caller
    /// ended it.
    pub(crate) async fn run(
        self,
        address: &BrokerAddress,
        route: &Route,
        keys: &Keys,
        floor: &TimeFloor,
    ) -> Result<(), Failure> {
        let mut far = dial(address, route, keys, floor).await?;
        if let Some(path) = &route.websocket {
            let socket = websocket::open(far, address, path, route.tls).await?;
            let local = self.admit().await?;
            return websocket::carry(local, socket).await;
        }
        let mut local = self.admit().await?;
        match tokio::io::copy_bidirectional(&mut local, &mut far).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::io("the broker's connection", &error)),
        }
    }

    async fn admit(&self) -> Result<UnixStream, Failure> {
        let failed = |error: io::Error| Failure::link(format!("relay: {error}"));
        let own = i32::try_from(std::process::id()).ok();
        loop {
            let (stream, _) = self.listener.accept().await.map_err(failed)?;
            if stream.peer_cred().map_err(failed)?.pid() == own {
                return Ok(stream);
            }
            tracing::warn!("another process called the relay and was sent away");
        }
    }
}
