//! TLS towards brokers and receivers: rustls with ring.
//!
//! Promises: the files are read anew for each connection, so that a renewed certificate needs no restart; only the
//! named authority is believed. Never: a key that is printed, a broker whose name does not match.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Tls;
use crate::mqtt::LinkError;

fn bad(file: &Path, why: impl ToString) -> LinkError {
    LinkError::Tls {
        file: file.to_owned(),
        why: why.to_string(),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let list: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(|error| bad(file, error))?
        .collect::<Result<_, _>>()
        .map_err(|error| bad(file, error))?;
    match list.is_empty() {
        true => Err(bad(file, "it holds no certificate")),
        false => Ok(list),
    }
}

/// For connections without TLS, where a library asks for a configuration all the same.
///
/// # Errors
/// When the versions of TLS cannot be had.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// What a connection needs.
///
/// # Errors
/// When a file cannot be read or used.
pub(crate) fn client(tls: &Tls) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca_file)? {
        roots
            .add(certificate)
            .map_err(|error| bad(&tls.ca_file, error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&tls.ca_file, error))?
        .with_root_certificates(roots);
    match &tls.client {
        None => Ok(builder.with_no_client_auth()),
        Some((cert_file, key_file)) => {
            let key =
                PrivateKeyDer::from_pem_file(key_file).map_err(|error| bad(key_file, error))?;
            builder
                .with_client_auth_cert(certificates(cert_file)?, key)
                .map_err(|error| bad(cert_file, error))
        }
    }
}
