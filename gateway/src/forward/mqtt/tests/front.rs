//! What may stand before a broker: an HTTP proxy, TLS, a websocket. Each takes a connection apart and hands
//! what is in it to the broker.
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::forward::transport::{Duplex, TlsBytes};

/// Somebody who signs, and what was signed.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// A certificate for a name, valid in these years.
    pub(super) fn sign(&self, name: &str, years: [i32; 2]) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
        params.not_after = rcgen::date_time_ymd(years[1], 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            certificate: certificate.pem(),
            key,
        }
    }

    pub(super) fn pem(&self) -> Vec<u8> {
        self.issuer.pem().into_bytes()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// What a vehicle has: trust in this authority, and a certificate of its own if wanted.
    pub(super) fn bytes(&self, own: Option<&Signed>) -> TlsBytes {
        TlsBytes {
            ca: self.pem(),
            client: own.map(|own| {
                let key = own.key.serialize_pem();
                (own.certificate.clone().into_bytes(), key.into_bytes())
            }),
        }
    }

    /// A server with this certificate that wants one of this authority from its clients.
    pub(super) fn server(&self, own: &Signed) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider.clone())
                .build()
                .unwrap();
        let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
        let chain = rustls_pem(&own.certificate);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn rustls_pem(pem: &str) -> Vec<tokio_rustls::rustls::pki_types::CertificateDer<'static>> {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    let chain = tokio_rustls::rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes());
    chain.map(Result::unwrap).collect()
}

/// What a front does.
#[derive(Clone, Default)]
pub(super) struct Manners {
    /// Wants this line of the request's head and answers CONNECT.
    pub(super) proxy: Option<String>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) websocket: bool,
}

pub(super) struct Front {
    pub(super) address: SocketAddr,
    /// What went wrong, connection by connection, and the heads that the proxy saw.
    pub(super) told: Receiver<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    pub(super) fn start(broker: SocketAddr, manners: Manners) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = crossbeam_channel::bounded(10_000);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, broker, manners, tell) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            told,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()).ok());
        self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: TcpListener, broker: SocketAddr, manners: Manners, tell: Sender<String>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (manners, tell) = (manners.clone(), tell.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, broker, manners, &tell).await {
                tell.try_send(error.to_string()).ok();
            }
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    broker: SocketAddr,
    manners: Manners,
    tell: &Sender<String>,
) -> std::io::Result<()> {
    if let Some(wanted) = &manners.proxy {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        tell.try_send(head.clone()).ok();
        if !head.contains(wanted.as_str()) {
            let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            return stream.write_all(refusal).await;
        }
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            .await?;
    }
    let far = TcpStream::connect(broker).await?;
    let near: Box<dyn Duplex + Send> = match manners.tls {
        Some(acceptor) => Box::new(acceptor.accept(stream).await?),
        None => Box::new(stream),
    };
    if manners.websocket {
        return serve_websocket(near, far).await;
    }
    let (mut near, mut far) = (near, far);
    tokio::io::copy_bidirectional(&mut near, &mut far)
        .await
        .map(drop)
}

#[expect(
    clippy::result_large_err,
    reason = "the library says what a refusal is"
)]
fn agree(
    request: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    assert_eq!(request.uri().path(), "/way");
    assert_eq!(request.headers()["Sec-WebSocket-Protocol"], "mqtt");
    let headers = response.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    Ok(response)
}

async fn serve_websocket(near: Box<dyn Duplex + Send>, far: TcpStream) -> std::io::Result<()> {
    let other = |error| std::io::Error::other(error);
    let socket = tokio_tungstenite::accept_hdr_async(near, agree)
        .await
        .map_err(other)?;
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = far.into_split();
    let up = async {
        while let Some(message) = source.next().await {
            match message.map_err(other)? {
                Message::Binary(bytes) => write.write_all(&bytes).await?,
                Message::Close(_) => break,
                message => panic!("{message:?}"),
            }
        }
        write.shutdown().await
    };
    let down = async {
        // Odd pieces: a packet is not a message.
        let mut piece = [0; 7];
        loop {
            let len = read.read(&mut piece).await?;
            if len == 0 {
                sink.close().await.ok();
                return Ok::<(), std::io::Error>(());
            }
            let bytes = piece[..len].to_vec();
            sink.send(Message::Binary(bytes.into()))
                .await
                .map_err(other)?;
        }
    };
    let (up, down) = tokio::join!(up, down);
    up.and(down)
}
