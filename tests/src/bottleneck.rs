//! A slow radio link: every connection through it shares one queue in each direction.
//!
//! ```text
//!  reader of each connection ─► FIFO, 64 kB ─► 32 kB/s ─► 100 ms on the way ─► writer
//! ```
//! Promises: bytes leave in the order in which they came in, whatever connection they are of; a full queue holds the
//! readers up, and small socket buffers hold the senders up. Never: a loss; a second queue of noteworthy size.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::wait;

/// What the link can do.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Each direction carries so many bytes a second.
    pub bytes_per_s: u64,
    /// There and back.
    pub round_trip: Duration,
    /// The queue in front of it.
    pub fifo_bytes: usize,
}

/// Bytes on their way, or the end of a connection.
struct Parcel {
    bytes: Vec<u8>,
    to: Arc<TcpStream>,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    bytes: usize,
}

/// One direction.
struct Pipe {
    queue: Mutex<Queue>,
    changed: Condvar,
    quality: Quality,
}

/// A TCP relay on loopback with a bottleneck.
#[derive(Debug)]
pub struct Bottleneck {
    port: u16,
}

/// Small, so that the queue is the emulated one.
const SOCKET_BUFFER_LEN: usize = 4 * 1024;
const READ_LEN: usize = 1_400;

impl Bottleneck {
    /// A link to a port of this machine. Its threads live as long as the process.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn to(target_port: u16, quality: Quality) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Inherited by every accepted connection.
        sockopt::set_socket_recv_buffer_size(&listener, SOCKET_BUFFER_LEN)?;
        let port = listener.local_addr()?.port();
        let pipes = [(); 2].map(|()| {
            Arc::new(Pipe {
                queue: Mutex::default(),
                changed: Condvar::new(),
                quality,
            })
        });
        for pipe in &pipes {
            let (sender, receiver) = std::sync::mpsc::sync_channel::<(Instant, Parcel)>(4_096);
            let serving = Arc::clone(pipe);
            thread::Builder::new()
                .name("bottleneck".into())
                .spawn(move || serving.serve(&sender))?;
            thread::Builder::new()
                .name("flight".into())
                .spawn(move || {
                    for (at, parcel) in receiver {
                        thread::park_timeout(at.saturating_duration_since(wait::now()));
                        deliver(&parcel);
                    }
                })?;
        }
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target_port));
        thread::Builder::new()
            .name("bottleneck".into())
            .spawn(move || {
                for client in listener.incoming().flatten() {
                    relay(&client, target, &pipes).ok();
                }
            })?;
        Ok(Self { port })
    }

    /// The port on which vehicles reach the broker.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn relay(client: &TcpStream, target: SocketAddr, pipes: &[Arc<Pipe>; 2]) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    sockopt::set_socket_recv_buffer_size(&server, SOCKET_BUFFER_LEN)?;
    let [up, down] = pipes;
    for (from, to, pipe) in [
        (client.try_clone()?, server.try_clone()?, up),
        (server, client.try_clone()?, down),
    ] {
        let pipe = Arc::clone(pipe);
        thread::Builder::new()
            .name("relay".into())
            .spawn(move || pipe.read(from, &Arc::new(to)))?;
    }
    Ok(())
}

fn deliver(parcel: &Parcel) {
    let mut to = parcel.to.as_ref();
    if parcel.bytes.is_empty() || to.write_all(&parcel.bytes).is_err() {
        to.shutdown(std::net::Shutdown::Both).ok();
    }
}

impl Pipe {
    fn read(&self, mut from: TcpStream, to: &Arc<TcpStream>) {
        let mut buffer = vec![0; READ_LEN];
        loop {
            let len = from.read(&mut buffer).unwrap_or(0);
            let bytes = buffer.get(..len).unwrap_or_default().to_vec();
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.bytes + len > self.quality.fifo_bytes {
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            queue.bytes += len;
            let to = Arc::clone(to);
            queue.parcels.push_back(Parcel { bytes, to });
            self.changed.notify_all();
            if len == 0 {
                return;
            }
        }
    }

    fn serve(&self, flight: &std::sync::mpsc::SyncSender<(Instant, Parcel)>) {
        let mut free_at = wait::now();
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.parcels.is_empty() {
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let Some(parcel) = queue.parcels.pop_front() else {
                continue;
            };
            drop(queue);
            let us = parcel.bytes.len() as u64 * 1_000_000 / self.quality.bytes_per_s.max(1);
            free_at = free_at.max(wait::now()) + Duration::from_micros(us);
            while let Some(left) = free_at.checked_duration_since(wait::now()) {
                thread::park_timeout(left);
            }
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.bytes = queue.bytes.saturating_sub(parcel.bytes.len());
            self.changed.notify_all();
            drop(queue);
            let at = free_at + self.quality.round_trip / 2;
            if flight.send((at, parcel)).is_err() {
                return;
            }
        }
    }
}
