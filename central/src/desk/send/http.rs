//! HTTP receivers, and the webhook.
//!
//! Promises: the body is signed as it goes out; files with keys, tokens and authorities are read anew after a
//! failure, so that a renewed one needs no restart; what a receiver answers is read up to a bound. Never: a redirect
//! followed, a server that nobody vouches for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ring::hmac;

use crate::config::{Http, Tls, Webhook as WebhookConfig, read_secret};
use crate::desk::core::{Notification, Outcome};
use crate::tls;

/// An idle connection is given up before most servers do so.
const IDLE: Duration = Duration::from_secs(30);
/// What is read of an answer.
const ANSWER_LEN_MAX: usize = 64 * 1024;
/// What is kept of it, for people.
const SHOWN_LEN_MAX: usize = 200;

type Connector = HttpsConnector<HttpConnector>;
type Body = Full<Bytes>;
type Connections = Pool<Connector, Body>;

/// One HTTP server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    config: Http,
    /// Made anew after a failure.
    pool: Arc<Mutex<Option<Connections>>>,
}

fn down(why: impl ToString) -> Outcome {
    Outcome::Down {
        why: why.to_string(),
        retry_ms: None,
    }
}

impl Client {
    pub(super) fn new(config: &Http) -> Self {
        Self {
            config: config.clone(),
            pool: Arc::default(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.config.url
    }

    /// Posts JSON.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Outcome {
        let outcome = match self.request(url, headers, body) {
            Ok((pool, request)) => match pool.request(request).await {
                Ok(response) => outcome(response).await,
                Err(error) => down(cause(&error)),
            },
            Err(why) => down(why),
        };
        if matches!(outcome, Outcome::Down { .. }) {
            *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome
    }

    fn request(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(Connections, Request<Body>), String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header("user-agent", "fleet-central");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(file) = &self.config.token_file {
            let token = secret(file)?;
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| format!("{} holds no token", file.display()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        Ok((self.pool()?, request))
    }

    fn pool(&self) -> Result<Connections, String> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pool.as_ref() {
            return Ok(pool.clone());
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = match self.config.url.starts_with("https:") {
            true => {
                let trust = Tls {
                    ca_file: self.config.ca_file.clone(),
                    client: None,
                };
                let config = tls::client(&trust).map_err(|error| error.to_string())?;
                hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(config)
                    .https_only()
                    .enable_http1()
                    .wrap_connector(tcp)
            }
            false => {
                let config = tls::trusting_nobody().map_err(|error| error.to_string())?;
                hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(config)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(tcp)
            }
        };
        let made = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(pool.insert(made).clone())
    }
}

fn secret(file: &Path) -> Result<String, String> {
    read_secret(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// The last word of a chain of errors says what happened.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

async fn outcome(response: Response<hyper::body::Incoming>) -> Outcome {
    let status = response.status();
    let retry_ms = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
        .map(|s| s.saturating_mul(1_000));
    // Read to its end, so that the connection can be used again.
    let body = Limited::new(response.into_body(), ANSWER_LEN_MAX);
    let said = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    if status.is_success() {
        return Outcome::Delivered;
    }
    let said: String = said
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_LEN_MAX)
        .collect();
    let why = format!("{status}: {said}");
    match status {
        // About this very body.
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::Refused { why },
        // About the receiver, or about how it is configured here.
        _ => Outcome::Down { why, retry_ms },
    }
}

/// A webhook.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    client: Client,
    config: WebhookConfig,
}

impl Webhook {
    pub(super) fn new(config: &WebhookConfig) -> Self {
        Self {
            client: Client::new(&config.http),
            config: config.clone(),
        }
    }

    pub(super) async fn tell(&self, notification: &Notification, body: &str) -> Outcome {
        let mut headers = vec![
            ("idempotency-key", notification.key.clone()),
            ("x-fleet-transition", notification.transition.clone()),
        ];
        if let Some(file) = &self.config.key_file {
            match secret(file) {
                Ok(key) => headers.push(("x-fleet-signature", signature(&key, body.as_bytes()))),
                Err(why) => return down(why),
            }
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.client.post(self.client.url(), &headers, body).await
    }
}

/// `sha256=` and the hex digits of HMAC-SHA256 over the body.
pub(super) fn signature(key: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, body);
    tag.as_ref()
        .iter()
        .fold("sha256=".to_owned(), |text, byte| {
            format!("{text}{byte:02x}")
        })
}
