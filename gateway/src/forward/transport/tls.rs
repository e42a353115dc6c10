//! TLS with the broker: rustls over ring, our own certificate if there is one.
//!
//! Promises: without a CA file nobody is trusted; the validity of certificates is judged at the latest of
//! the system's time, the date of the build and the best time that an earlier boot has written down, so that
//! a board that starts in 1970 does not lock the vehicle out; a renewed file counts at the next connection.
//! Never: a certificate that is not checked; a key in a message.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{ClientConfig, Resumption};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, RootCertStore};

use super::Failure;
use crate::clock;

/// PEM files, as bytes.
#[derive(Clone, Default)]
pub struct TlsBytes {
    /// The certificates of those whom we trust.
    pub ca: Vec<u8>,
    /// Our certificate and those above it, and the key to it.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for TlsBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsBytes")
    }
}

/// The earliest time that it can be, as far as this machine knows. Clones share it.
#[derive(Debug, Clone)]
pub struct TimeFloor {
    utc_ms: Arc<AtomicI64>,
    system_utc_ms: fn() -> i64,
}

impl Default for TimeFloor {
    fn default() -> Self {
        Self::with_clock(clock::system_utc_ms)
    }
}

impl TimeFloor {
    /// The date of the build, until something better is known.
    pub(crate) fn with_clock(system_utc_ms: fn() -> i64) -> Self {
        Self {
            utc_ms: Arc::new(AtomicI64::new(clock::BUILD_UTC_MS)),
            system_utc_ms,
        }
    }

    /// It was this time at some moment of the past.
    pub fn raise(&self, utc_ms: i64) {
        self.utc_ms.fetch_max(utc_ms, Ordering::Relaxed);
    }

    /// The latest of all that is known.
    #[must_use]
    pub fn utc_ms(&self) -> i64 {
        let floor_ms = self.utc_ms.load(Ordering::Relaxed);
        floor_ms.max((self.system_utc_ms)())
    }
}

impl TimeProvider for TimeFloor {
    fn current_time(&self) -> Option<UnixTime> {
        let utc_ms = u64::try_from(self.utc_ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(utc_ms)))
    }
}

/// Speaks TLS with the broker.
pub(super) async fn handshake(
    tcp: TcpStream,
    host: &str,
    bytes: &TlsBytes,
    floor: &TimeFloor,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = client_config(bytes, floor).map_err(Failure::link)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::link(format!("{host:?} cannot be the name in a certificate")))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(|error| failure(&error))
}

/// A certificate that is refused is nobody's restart: only a broken connection blames the broker.
fn failure(error: &io::Error) -> Failure {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(error) => Failure::link(format!("TLS: {error}")),
        None => Failure::io("TLS", error),
    }
}

fn client_config(bytes: &TlsBytes, floor: &TimeFloor) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes.ca) {
        let certificate = certificate.map_err(|error| format!("CA file: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("CA file: {error}"))?;
    }
    if roots.is_empty() {
        return Err("CA file: no certificate in it".to_owned());
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(floor.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &bytes.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let chain = chain.map_err(|error| format!("certificate file: {error}"))?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("key file: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("certificate and key: {error}"))?
        }
    };
    // Every connection has a configuration of its own: there is nothing to resume.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_certificate_is_the_latest_that_anybody_knows() {
        let floor = TimeFloor::with_clock(|| 0);
        assert_eq!(floor.utc_ms(), clock::BUILD_UTC_MS);
        let later_ms = clock::BUILD_UTC_MS + 86_400_000;
        floor.clone().raise(later_ms);
        floor.raise(later_ms - 5);
        assert_eq!(floor.utc_ms(), later_ms);
        let seconds = u64::try_from(later_ms / 1_000).unwrap();
        assert_eq!(floor.current_time().unwrap().as_secs(), seconds);
        let far = TimeFloor::with_clock(|| i64::MAX / 2);
        assert_eq!(far.utc_ms(), i64::MAX / 2);
    }

    #[test]
    fn files_that_are_no_certificates_are_told_apart() {
        let floor = TimeFloor::default();
        let told = |bytes: TlsBytes| client_config(&bytes, &floor).map(drop).unwrap_err();
        assert_eq!(told(TlsBytes::default()), "CA file: no certificate in it");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bytes = TlsBytes {
            ca: broken.to_vec(),
            client: None,
        };
        assert!(told(bytes).starts_with("CA file: "));
    }
}
