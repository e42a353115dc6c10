//! The page: files that are part of the program.
//!
//! Promises: nothing is fetched from anywhere else, unless tiles are configured; a browser keeps a file until the
//! program changes. Never: a script or a style that is not a file of the page.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use firmware_shared::checksum::crc32c;

use super::problem::Problem;

pub(super) struct File {
    pub(super) name: &'static str,
    kind: &'static str,
    pub(super) bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal as $kind:literal,)*) => {
        &[$(File { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../web/", $name)) },)*]
    };
}

pub(super) static FILES: &[File] = files! {
    "index.html" as "text/html; charset=utf-8",
    "app.css" as "text/css; charset=utf-8",
    "icon.svg" as "image/svg+xml",
    "app.js" as "text/javascript; charset=utf-8",
    "alerts.js" as "text/javascript; charset=utf-8",
    "api.js" as "text/javascript; charset=utf-8",
    "chart.js" as "text/javascript; charset=utf-8",
    "dom.js" as "text/javascript; charset=utf-8",
    "fleet.js" as "text/javascript; charset=utf-8",
    "health.js" as "text/javascript; charset=utf-8",
    "live.js" as "text/javascript; charset=utf-8",
    "map.js" as "text/javascript; charset=utf-8",
    "vehicle.js" as "text/javascript; charset=utf-8",
    "words.js" as "text/javascript; charset=utf-8",
    "vendor/leaflet-1.9.4/leaflet.js" as "text/javascript; charset=utf-8",
    "vendor/leaflet-1.9.4/leaflet.css" as "text/css; charset=utf-8",
    "vendor/uplot-1.6.32/uPlot.esm.js" as "text/javascript; charset=utf-8",
    "vendor/uplot-1.6.32/uPlot.min.css" as "text/css; charset=utf-8",
    "vendor/world-atlas-2.0.2/countries-110m.json" as "application/json",
    "vendor/world-atlas-2.0.2/countries-50m.json" as "application/json",
};

/// What a browser may load for the page.
pub(super) fn policy(tiles_url: Option<&str>) -> String {
    let tiles = tiles_url.map(|url| {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        format!(" {scheme}://{}", rest.split('/').next().unwrap_or_default())
    });
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{}; connect-src 'self'; \
         manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        tiles.unwrap_or_default()
    )
}

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| file("index.html", &headers)),
        )
        .route(
            "/web/{*name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::no_path(name).into_response();
    };
    let tag = format!("\"{:08x}\"", crc32c(file.bytes));
    let Ok(tag_value) = HeaderValue::from_str(&tag) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_kept = headers.get(header::IF_NONE_MATCH) == Some(&tag_value);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::ETAG, tag_value),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    match is_kept {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, file.bytes).into_response(),
    }
}
