//! A link between vehicles and broker that can be cut, and that counts what crosses it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A free loopback port. It is free when asked; a test that binds it says so when it is taken.
///
/// # Errors
/// When the machine gives no port.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The longest piece that a throttled link carries at once, bytes.
const THROTTLED_LEN: usize = 256;

/// A TCP relay on loopback.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    up: AtomicBool,
    ended: AtomicBool,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// 0 = as fast as it goes.
    bytes_per_s: AtomicU64,
    connections: AtomicU64,
    /// What the broker says is thrown away.
    muted: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to a port of this machine.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn to(target_port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, target_port)),
            up: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            bytes_per_s: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            muted: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("link".into())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { shared, port })
    }

    /// The port on which vehicles reach the broker.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection and refuses further ones.
    pub fn cut(&self) {
        self.shared.up.store(false, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.shared.up.store(true, Ordering::SeqCst);
    }

    /// Throws away what the broker says to the vehicles: acknowledgements are lost, data is not.
    pub fn mute(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::SeqCst);
    }

    /// Lets each direction of each connection carry so many bytes a second; 0 = as fast as it goes.
    pub fn throttle(&self, bytes_per_s: u64) {
        self.shared
            .bytes_per_s
            .store(bytes_per_s, Ordering::Relaxed);
    }

    /// Bytes that crossed from the vehicles to the broker.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::Relaxed)
    }

    /// Bytes that crossed from the broker to the vehicles.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.shared.bytes_down.load(Ordering::Relaxed)
    }

    /// Connections that were let through.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the accepting thread, which then ends.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
    }
}

impl Shared {
    fn close_all(&self) {
        for stream in self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        if shared.up.load(Ordering::SeqCst) {
            relay(client, shared).ok();
        }
    }
}

fn relay(client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect_timeout(&shared.target, Duration::from_secs(1))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    drop(open);
    if !shared.up.load(Ordering::SeqCst) {
        shared.close_all();
        return Ok(());
    }
    for (from, to, up) in [
        (client.try_clone()?, server.try_clone()?, true),
        (server, client, false),
    ] {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("relay".into()).spawn(move || {
            let counter = if up {
                &shared.bytes_up
            } else {
                &shared.bytes_down
            };
            let muted = (!up).then_some(&shared.muted);
            copy(from, to, counter, &shared.bytes_per_s, muted);
        })?;
    }
    Ok(())
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    counter: &AtomicU64,
    bytes_per_s: &AtomicU64,
    muted: Option<&AtomicBool>,
) {
    let mut buffer = vec![0; 2 * 1024];
    loop {
        // A slow link carries small pieces, so that little passes before the first wait.
        let most = match bytes_per_s.load(Ordering::Relaxed) {
            0 => buffer.len(),
            _ => THROTTLED_LEN,
        };
        let Some(room) = buffer.get_mut(..most) else {
            break;
        };
        let Ok(len @ 1..) = from.read(room) else {
            break;
        };
        let bytes = room.get(..len).unwrap_or_default();
        let is_muted = muted.is_some_and(|muted| muted.load(Ordering::SeqCst));
        if !is_muted && to.write_all(bytes).is_err() {
            break;
        }
        counter.fetch_add(len as u64, Ordering::Relaxed);
        if let Some(ms) = (len as u64 * 1000).checked_div(bytes_per_s.load(Ordering::Relaxed)) {
            thread::park_timeout(Duration::from_millis(ms));
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
