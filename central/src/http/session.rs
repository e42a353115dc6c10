//! Logging in, and who one is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::access::{COOKIE, Identity, Role};
use super::problem::{Problem, Refusals};

/// The longest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A body of JSON.
///
/// # Errors
/// 413, 415, 422 or 400, with the field where there is one.
pub(super) async fn body<T: serde::de::DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = format!("content-type {kind:?} is not possible");
        return Err(Problem::field(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "application/json",
            detail,
        ));
    }
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            let limit = format!("{BODY_BYTES_MAX} bytes");
            let is_length = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            match is_length {
                true => Problem::field(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body",
                    limit,
                    "the body is too long",
                ),
                false => Problem::field(
                    StatusCode::BAD_REQUEST,
                    "body",
                    limit,
                    "the body did not come",
                ),
            }
        })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let detail = error.to_string();
        let field = detail.split('`').nth(1).unwrap_or("body").to_owned();
        Problem::field(
            StatusCode::BAD_REQUEST,
            &field,
            "see /api/v1/openapi.json",
            detail,
        )
    })
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// As in the users file.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
}

/// A session that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Begun {
    /// For programs: `Authorization: Bearer TOKEN`. A browser has it as a cookie.
    token: String,
    /// For the page: the header `x-fleet-csrf` of what changes something.
    csrf: String,
    role: Role,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// `null` while nobody is logged in.
    name: Option<String>,
    role: Option<Role>,
    csrf: Option<String>,
    /// Whether people log in here by name and password.
    has_login: bool,
    can_log_out: bool,
    /// Where the map's tiles are; `null` for the outline map alone.
    tiles_url: Option<String>,
    /// The version of the centre.
    version: &'static str,
}

/// Who asks, and what the page needs to know before it can ask more.
#[utoipa::path(get, path = "/api/v1/me", tag = "session", operation_id = "me",
    responses((status = 200, body = Me), Refusals))]
pub(super) async fn me(
    State(shared): State<Arc<Shared>>,
    identity: Option<Extension<Identity>>,
) -> Json<Me> {
    let identity = identity.map(|Extension(identity)| identity);
    Json(Me {
        csrf: identity
            .as_ref()
            .and_then(|identity| identity.csrf().map(str::to_owned)),
        can_log_out: identity.as_ref().is_some_and(Identity::can_log_out),
        role: identity.as_ref().map(|identity| identity.role),
        name: identity.map(|identity| identity.name),
        has_login: shared.access.has_login(),
        tiles_url: shared.tiles_url.clone(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Has the audit log say who came and went.
async fn note(
    shared: &Shared,
    who: String,
    what: &'static str,
    from: String,
) -> Result<(), Problem> {
    let desk = shared.desk.clone();
    let noted = tokio::task::spawn_blocking(move || desk.audit(&who, what, &who, &from)).await;
    match noted {
        Ok(noted) => noted.map_err(Problem::from),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the audit log failed",
        )),
    }
}

/// Begins a session.
#[utoipa::path(post, path = "/api/v1/login", tag = "session", operation_id = "login", request_body = Credentials,
    responses((status = 200, body = Begun), Refusals))]
pub(super) async fn login(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let Credentials { name, password } = body(&headers, sent).await?;
    for (field, text, chars_max) in [("name", &name, 64), ("password", &password, 1024)] {
        if text.is_empty() || text.chars().count() > chars_max {
            let limit = format!("1 to {chars_max} characters");
            return Err(Problem::field(
                StatusCode::BAD_REQUEST,
                field,
                limit,
                format!("{field} is empty or too long"),
            ));
        }
    }
    let who = name.clone();
    let peer = peer.ip().to_canonical();
    let begun = shared.access.log_in(name, password, peer).await?;
    note(&shared, who, "login", peer.to_string()).await?;
    let secure = if shared.access.is_tls { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict{secure}",
        begun.token
    );
    let body = Json(Begun {
        token: begun.token,
        csrf: begun.csrf,
        role: begun.role,
    });
    Ok(([(header::SET_COOKIE, cookie)], body).into_response())
}

/// Ends the session of this request.
#[utoipa::path(post, path = "/api/v1/logout", tag = "session", operation_id = "logout",
    responses((status = 204), Refusals))]
pub(super) async fn logout(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    identity: Option<Extension<Identity>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    shared.access.log_out(&headers);
    if let Some(Extension(identity)) = identity.filter(|Extension(who)| who.can_log_out()) {
        note(&shared, identity.name, "logout", peer.ip().to_string()).await?;
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
