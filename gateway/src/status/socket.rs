//! The unix socket on which the gateway answers.
//!
//! Promises: mode 0600 from its first moment; a socket file that a dead process left behind is replaced, a
//! living one's is not; a client that neither reads nor goes away costs a second. Never: a byte is read.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::question::{Asker, PATIENCE};

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("{path}: another gateway answers here; allowed is one gateway per status socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: no socket can be made here: {source}")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Clients that may wait for the one being answered.
const BACKLOG: i32 = 4;
const STACK_LEN: usize = 256 * 1024;

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub struct StatusSocket {
    path: PathBuf,
}

impl StatusSocket {
    /// Listens and answers from a thread of its own.
    ///
    /// # Errors
    /// [`SocketError`]; the gateway can do without.
    pub fn open(path: &Path, asker: Asker) -> Result<Self, SocketError> {
        let bind_error = |source| SocketError::Bind {
            path: path.to_owned(),
            source,
        };
        let listener = listen(path)?;
        std::thread::Builder::new()
            .name("status".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || serve(&listener, &asker))
            .map_err(bind_error)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // Gone already is as good.
        std::fs::remove_file(&self.path).ok();
    }
}

/// A listening socket that nobody but its owner can open.
pub(super) fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let bind_error = |source| SocketError::Bind {
        path: path.to_owned(),
        source,
    };
    match bind(path) {
        Err(error) if in_use(&error) && UnixStream::connect(path).is_ok() => {
            Err(SocketError::InUse {
                path: path.to_owned(),
            })
        }
        Err(error) if in_use(&error) => std::fs::remove_file(path)
            .and_then(|()| bind(path))
            .map_err(bind_error),
        result => result.map_err(bind_error),
    }
}

/// The mode is set before the file exists: Linux gives a socket file the mode of its socket.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

fn serve(listener: &UnixListener, asker: &Asker) {
    for stream in listener.incoming() {
        // A client that is gone has its answer.
        match stream.and_then(|stream| answer(stream, asker)) {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "a status client went away"),
        }
    }
}

fn answer(mut stream: UnixStream, asker: &Asker) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&asker.ask()?)
}
