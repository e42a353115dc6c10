//! Connections: who may come in, how long they may take.
//!
//! Promises: no more connections than the configuration says; a head that does not come in time is answered with
//! 408. Never: an accept that ends the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::wire::{Paced, too_slow};
use crate::config::Limits;

const HEADERS_MAX: usize = 64;
/// The head of a request, and a piece of a body.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After a failed accept (no more file descriptors) the next one waits so long.
const ACCEPT_PAUSE_MS: u64 = 100;

/// How a server listens.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) limits: Limits,
}

/// Certificates and key for the server.
///
/// # Errors
/// One phrase: which file, and what is wrong with it.
pub(super) fn tls(cert_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, String> {
    let bad = |file: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let certificates: Vec<_> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| bad(cert_file, &error))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| bad(key_file, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(cert_file, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| bad(cert_file, &error))?;
    Ok(Arc::new(config))
}

/// Serves until `stop` says so.
pub(super) async fn serve(door: Door, app: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(door.limits.connections_max as usize));
    let acceptor = door.tls.map(TlsAcceptor::from);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the page was not accepted");
                let pause = std::future::pending::<()>();
                tokio::time::timeout(Duration::from_millis(ACCEPT_PAUSE_MS), pause)
                    .await
                    .ok();
                continue;
            }
        };
        stream.set_nodelay(true).ok();
        let guest = Guest {
            app: app.clone(),
            peer,
            limits: door.limits,
            stop: stop.clone(),
            _place: place,
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => guest.serve(stream).await,
                Some(acceptor) => {
                    let patience = guest.patience();
                    // A handshake that fails or hangs concerns nobody else.
                    if let Ok(Ok(stream)) =
                        tokio::time::timeout(patience, acceptor.accept(stream)).await
                    {
                        guest.serve(stream).await;
                    }
                }
            }
        });
    }
}

/// One connection.
struct Guest {
    app: Router,
    peer: SocketAddr,
    limits: Limits,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.limits.client_s_max.into())
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S) {
        let patience = self.patience();
        let (app, peer) = (self.app.clone(), self.peer);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let app = app.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                Ok::<_, Infallible>(
                    app.oneshot(request)
                        .await
                        .unwrap_or_else(|never| match never {}),
                )
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Paced::new(stream, patience)), service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            // What is under way is cut off: every answer can be asked for again.
            _ = self.stop.wait_for(|stop| *stop) => return,
        };
        let Err(error) = ended else { return };
        tracing::debug!(peer = %self.peer, %error, "a connection to the page ended");
        let mut stream = connection.into_parts().io.into_inner();
        if error.is_timeout() && stream.has_unanswered() {
            let words = too_slow(self.limits.client_s_max);
            stream.write_all(&words).await.ok();
            stream.shutdown().await.ok();
        }
    }
}
