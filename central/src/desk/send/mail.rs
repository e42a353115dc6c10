//! Mail.
//!
//! Promises: the message id is made of the key, so that a message that is sent twice can be told by it; TLS where
//! the configuration says so, or no mail. Never: a password in the clear.

use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::config::{Smtp, SmtpTls};
use crate::desk::core::{Notification, Outcome};
use crate::desk::item::AlertItem;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// One mail server and those who get mail from it.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    config: Smtp,
    timeout: Duration,
}

/// The key of the notification.
#[derive(Debug, Clone)]
struct Key(String);

impl Header for Key {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Fleet-Key")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

impl Mail {
    pub(super) fn new(config: &Smtp, timeout_ms: u32) -> Self {
        Self {
            config: config.clone(),
            timeout: Duration::from_millis(timeout_ms.into()),
        }
    }

    pub(super) async fn tell(&self, notification: &Notification) -> Outcome {
        let message = match self.message(notification) {
            Ok(message) => message,
            Err(why) => return Outcome::Refused { why },
        };
        let transport = match self.transport() {
            Ok(transport) => transport,
            Err(why) => {
                return Outcome::Down {
                    why,
                    retry_ms: None,
                };
            }
        };
        match transport.send(message).await {
            Ok(_) => Outcome::Delivered,
            Err(error) if error.is_permanent() => Outcome::Refused {
                why: error.to_string(),
            },
            Err(error) => Outcome::Down {
                why: error.to_string(),
                retry_ms: None,
            },
        }
    }

    fn transport(&self) -> Result<Transport, String> {
        let Smtp {
            host,
            port,
            tls,
            login,
            ..
        } = &self.config;
        let tls = match tls {
            SmtpTls::None => Tls::None,
            SmtpTls::Tls => Tls::Wrapper(self.trust()?),
            SmtpTls::Starttls => Tls::Required(self.trust()?),
        };
        let mut builder = Transport::builder_dangerous(host.as_str())
            .port(*port)
            .tls(tls)
            .timeout(Some(self.timeout));
        if let Some(login) = login {
            let password = login
                .password()
                .map_err(|error| format!("cannot read the password: {error}"))?;
            builder = builder.credentials(Credentials::new(login.username.clone(), password));
        }
        Ok(builder.build())
    }

    fn trust(&self) -> Result<TlsParameters, String> {
        let file = &self.config.ca_file;
        let pem = std::fs::read(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
        TlsParameters::builder(self.config.host.clone())
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate)
            .build_rustls()
            .map_err(|error| error.to_string())
    }

    fn message(&self, notification: &Notification) -> Result<Message, String> {
        let bad = |error: lettre::address::AddressError| error.to_string();
        let mut builder = Message::builder()
            .from(self.config.from.parse().map_err(bad)?)
            .message_id(Some(message_id(&notification.key)))
            .header(ContentType::TEXT_PLAIN)
            .header(Key(notification.key.clone()))
            .subject(subject(notification));
        for to in &self.config.to {
            builder = builder.to(to.parse().map_err(bad)?);
        }
        builder
            .body(text(notification))
            .map_err(|error| error.to_string())
    }
}

/// The same for the same key.
fn message_id(key: &str) -> String {
    let safe: String = key
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() || "-_".contains(c) {
            true => c,
            false => '.',
        })
        .collect();
    format!("<{safe}@fleet-central>")
}

/// One line without anything that steers a reader.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn subject(notification: &Notification) -> String {
    let AlertItem {
        device,
        kind,
        sensor,
        severity,
        late,
        ..
    } = &notification.alert;
    let late = if *late { " LATE" } else { "" };
    let what = [device.as_str(), kind, sensor];
    let what: Vec<&str> = what.into_iter().filter(|word| !word.is_empty()).collect();
    line(&format!(
        "[{}{late}] {} {}",
        severity.name(),
        what.join(" "),
        notification.transition
    ))
}

fn text(notification: &Notification) -> String {
    let item = &notification.alert;
    let utc = |ms: Option<i64>| {
        ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .map_or("not known".to_owned(), |at| format!("{at:.0}"))
    };
    let mut lines = vec![line(&item.text), String::new()];
    if let Some(value) = item.value {
        lines.push(format!("Value:    {value} {}", item.unit));
    }
    for (name, bound) in [
        ("Low", item.low),
        ("High", item.high),
        ("Expected", item.expected),
    ] {
        if let Some(bound) = bound {
            lines.push(format!("{:<9} {bound} {}", format!("{name}:"), item.unit));
        }
    }
    if let Some(load_id) = &item.finding.load_id {
        lines.push(format!("Load:     {}", line(load_id)));
    }
    lines.push(format!("Began:    {}", utc(item.raised_ms)));
    if !item.is_open() {
        lines.push(format!("Ended:    {}", utc(item.cleared_ms)));
    }
    if item.late {
        lines.push("It reached the centre late.".to_owned());
    }
    if item.members > 0 {
        lines.push(format!("It stands for {} alerts.", item.members));
    }
    lines.push(format!("Alert:    {}", line(&item.id)));
    lines.join("\r\n") + "\r\n"
}
