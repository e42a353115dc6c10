//! An authority of a test's own, and the certificates that it issues.
//!
//! Promises: fresh keys in a folder of the test, for this machine alone. Never: a key that outlives its test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority and the certificates that it issues, in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one, and writes `ca.crt`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("fleet authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        std::fs::write(folder.join("ca.crt"), params.self_signed(&key)?.pem())?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes `NAME.crt` and `NAME.key`; `broker` and `server` are this machine.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn issue(&self, common_name: &str) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        if ["broker", "server"].contains(&common_name) {
            let localhost = SanType::DnsName("localhost".try_into()?);
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into()), localhost];
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = |end: &str| self.folder.join(format!("{common_name}.{end}"));
        std::fs::write(file("crt"), certificate.pem())?;
        std::fs::write(file("key"), key.serialize_pem())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file("key"), mode)?;
        Ok(())
    }

    /// What a server shows that has this name.
    ///
    /// # Errors
    /// When it was not issued.
    pub fn server(&self, common_name: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let file = |end: &str| self.folder.join(format!("{common_name}.{end}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(file("crt"))?],
                PrivateKeyDer::from_pem_file(file("key"))?,
            )?;
        Ok(Arc::new(config))
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
