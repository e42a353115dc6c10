//! The files that a connection to the broker needs: passwords, certificates, a key.
//!
//! Promises: what they hold is read at every connection, so that what is renewed counts; a file with a
//! secret counts only while its owner alone can read it. Never: a secret in an error or in the printed form.

use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::{ConfigError, Section};
use crate::forward::transport::{Keys, Login, TlsBytes};

/// A user name, and the file whose first line is the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFile {
    /// User name.
    pub username: String,
    /// The file.
    pub password_file: PathBuf,
}

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of those whom we trust.
    pub ca: PathBuf,
    /// Our certificate and the key to it.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Every file of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyFiles {
    /// For the broker.
    pub login: Option<LoginFile>,
    /// For the proxy.
    pub proxy_login: Option<LoginFile>,
    /// For TLS.
    pub tls: Option<TlsFiles>,
}

impl KeyFiles {
    /// What is in the files.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(&self) -> Result<Keys, String> {
        let login = |file: &Option<LoginFile>| file.as_ref().map(LoginFile::read).transpose();
        Ok(Keys {
            login: login(&self.login)?,
            proxy_login: login(&self.proxy_login)?,
            tls: match &self.tls {
                Some(files) => files.read()?,
                None => TlsBytes::default(),
            },
        })
    }
}

impl LoginFile {
    /// The first line of the file, if nobody else can read it.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub(crate) fn read(&self) -> Result<Login, String> {
        let bytes = read_secret(&self.password_file)?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Login {
                username: self.username.clone(),
                password: line.to_owned(),
            }),
            _ => Err(format!(
                "{}: allowed is a file whose first line is the password",
                self.password_file.display()
            )),
        }
    }
}

impl TlsFiles {
    fn read(&self) -> Result<TlsBytes, String> {
        let client = match &self.client {
            Some((certificate, key)) => Some((read(certificate)?, read_secret(key)?)),
            None => None,
        };
        Ok(TlsBytes {
            ca: read(&self.ca)?,
            client,
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let unread = |_| format!("{}: allowed is a file that can be read", file.display());
    std::fs::read(file).map_err(unread)
}

/// The bytes of a file that only its owner can read.
fn read_secret(file: &Path) -> Result<Vec<u8>, String> {
    let unread = |_| format!("{}: allowed is a file that can be read", file.display());
    let stat = rustix::fs::stat(file).map_err(unread)?;
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        return Err(format!(
            "{}: allowed is a file that only its owner can read (chmod 600)",
            file.display()
        ));
    }
    read(file)
}

/// A user name and a password file, which come together.
pub(super) fn read_login(
    section: &mut Section<'_>,
    [username_key, file_key]: [&'static str; 2],
) -> Result<Option<LoginFile>, ConfigError> {
    let username = section.text_if_any(username_key, "a user name")?;
    let file = section.path_if_any(file_key)?;
    match (username, file) {
        (None, None) => Ok(None),
        (Some(username), Some(password_file)) => {
            let login = LoginFile {
                username,
                password_file,
            };
            check(section, file_key, &login.password_file, login.read())?;
            Ok(Some(login))
        }
        (Some(username), None) => {
            let value = toml::Value::String(username);
            let allowed = format!("a user name together with {file_key}");
            Err(section.refuse(username_key, value, allowed))
        }
        (None, Some(file)) => {
            let allowed = format!("a file together with {username_key}");
            Err(section.refuse(file_key, file.display(), allowed))
        }
    }
}

/// The files of TLS; there must be some when `is_tls`, and none otherwise.
pub(super) fn read_tls(
    section: &mut Section<'_>,
    is_tls: bool,
) -> Result<Option<TlsFiles>, ConfigError> {
    let ca = section.path_if_any("ca_file")?;
    let certificate = section.path_if_any("cert_file")?;
    let key = section.path_if_any("key_file")?;
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(file), None) => {
            return Err(section.refuse(
                "cert_file",
                file.display(),
                "a file together with key_file",
            ));
        }
        (None, Some(file)) => {
            return Err(section.refuse(
                "key_file",
                file.display(),
                "a file together with cert_file",
            ));
        }
    };
    let Some(ca) = ca else {
        if is_tls {
            let allowed = "the certificates of those who may sign the broker's";
            return Err(section.missing("ca_file", allowed));
        }
        if let Some((file, _)) = client {
            let allowed = "a file together with transport = \"tls\" or \"wss\"";
            return Err(section.refuse("cert_file", file.display(), allowed));
        }
        return Ok(None);
    };
    if !is_tls {
        let allowed = "a file together with transport = \"tls\" or \"wss\"";
        return Err(section.refuse("ca_file", ca.display(), allowed));
    }
    let files = TlsFiles { ca, client };
    check(section, "ca_file", &files.ca, read(&files.ca))?;
    if let Some((certificate, key)) = &files.client {
        check(section, "cert_file", certificate, read(certificate))?;
        check(section, "key_file", key, read_secret(key))?;
    }
    Ok(Some(files))
}

fn check<T>(
    section: &Section<'_>,
    key: &str,
    file: &Path,
    read: Result<T, String>,
) -> Result<(), ConfigError> {
    read.map(drop).map_err(|error| {
        let allowed = error.rsplit_once(": allowed is ").map(|(_, words)| words);
        let allowed = allowed.unwrap_or(&error).to_owned();
        section.refuse(key, file.display(), allowed)
    })
}
