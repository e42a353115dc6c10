//! Paths, and the document that describes them.
//!
//! Promises: a path that is served is in the document, because both are made from the same functions; whatever a
//! handler does, an answer of 4xx or 5xx is a problem in JSON and every answer carries the same security headers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower_http::compression::CompressionLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Viewer, guard};
use super::problem::Problem;
use super::{Shared, alerts, events, export, files, ops, session, vehicles};

/// What is not a stream is answered within this time.
const ANSWER_S_MAX: u64 = 40;

fn api() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(session::me))
        .routes(routes!(session::login))
        .routes(routes!(session::logout))
        .routes(routes!(vehicles::list))
        .routes(routes!(vehicles::detail))
        .routes(routes!(vehicles::latest))
        .routes(routes!(vehicles::series))
        .routes(routes!(vehicles::track))
        .routes(routes!(vehicles::losses))
        .routes(routes!(vehicles::completeness))
        .routes(routes!(export::export))
        .routes(routes!(events::events))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::export))
        .routes(routes!(alerts::detail))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::escalate))
        .routes(routes!(alerts::notes, alerts::note))
        .routes(routes!(alerts::audit))
        .routes(routes!(ops::metrics))
}

fn open() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
}

/// The document.
pub(crate) fn document() -> OpenApi {
    let mut document = api().merge(open()).into_openapi();
    document.info.title = "Fleet Gateway: the centre".to_owned();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.info.description = Some(
        "Times are UTC in milliseconds since 1970. Whatever is refused is answered with a problem (RFC 9457) that \
         names the field and what is allowed in it."
            .to_owned(),
    );
    document
}

/// Every path of the server.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let (guarded, _) = api().split_for_parts();
    let (open, _) = open().split_for_parts();
    let guarded = guarded
        .route(
            "/api/v1/openapi.json",
            get(async |_: Viewer| Json(document())),
        )
        .layer(middleware::from_fn_with_state(Arc::clone(shared), guard));
    guarded
        .merge(open)
        .merge(files::router())
        .method_not_allowed_fallback(not_allowed)
        .fallback(async |request: Request| Problem::no_path(request.uri().path()))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(shared), dress))
        .with_state(Arc::clone(shared))
}

async fn not_allowed(method: Method) -> Problem {
    let detail = format!("{method} is not possible here");
    let limit = "the methods of GET /api/v1/openapi.json";
    Problem::field(StatusCode::METHOD_NOT_ALLOWED, "method", limit, detail)
}

/// Time, counting, headers.
async fn dress(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let counts = &shared.counts;
    counts.requests.fetch_add(1, Ordering::Relaxed);
    let limit = Duration::from_secs(ANSWER_S_MAX);
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let limit = format!("{ANSWER_S_MAX} s");
            Problem::field(
                StatusCode::REQUEST_TIMEOUT,
                "body",
                limit,
                "the request did not come in time",
            )
            .into_response()
        }
    };
    let status = response.status();
    if status.is_client_error() {
        counts.refused.fetch_add(1, Ordering::Relaxed);
    } else if status.is_server_error() {
        counts.failed.fetch_add(1, Ordering::Relaxed);
    }
    let policy = files::policy(shared.tiles_url.as_deref());
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(name).or_insert(value);
        }
    };
    put(header::CONTENT_SECURITY_POLICY, &policy);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(header::REFERRER_POLICY, "no-referrer");
    put(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    put(header::CACHE_CONTROL, "no-store");
    if shared.access.is_tls {
        put(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}
