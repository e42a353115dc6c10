//! What went wrong, as RFC 9457 says it: a JSON object that names the field and what is allowed.
//!
//! Promises: every answer of 4xx and 5xx has one. Never: what only the operator of the centre may know.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::query::QueryError;

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The status in words.
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    /// What is wrong, in a sentence.
    pub(crate) detail: String,
    /// The field, header or limit that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// What is allowed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<String>,
    /// When to try again.
    #[serde(skip)]
    pub(crate) retry_s: Option<u32>,
}

/// What any path may answer instead of what it is asked for: a name for the document.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum Refusals {
    /// The question is not allowed, or about nothing that is there.
    #[response(status = "4XX", content_type = "application/problem+json")]
    OfTheQuestion(Problem),
    /// The centre cannot answer now.
    #[response(status = "5XX", content_type = "application/problem+json")]
    OfTheCentre(Problem),
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            limit: None,
            retry_s: None,
        }
    }

    /// About a field, with what is allowed in it.
    pub(crate) fn field(
        status: StatusCode,
        field: &str,
        limit: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            field: Some(field.to_owned()),
            limit: Some(limit.into()),
            ..Self::new(status, detail)
        }
    }

    /// A field that cannot be read.
    pub(crate) fn bad(field: &str, limit: impl Into<String>, value: &str) -> Self {
        let shown: String = value.chars().take(80).collect();
        let detail = format!("{field} = {shown:?} is not possible");
        Self::field(StatusCode::BAD_REQUEST, field, limit, detail)
    }

    /// A field that contradicts another one.
    pub(crate) fn contradiction(
        field: &str,
        limit: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self::field(StatusCode::UNPROCESSABLE_ENTITY, field, limit, detail)
    }

    pub(crate) fn no_vehicle(device: &str) -> Self {
        let shown: String = device.chars().take(80).collect();
        let detail = format!("there is no vehicle {shown:?}");
        Self::field(
            StatusCode::NOT_FOUND,
            "device",
            "a name of GET /api/v1/vehicles",
            detail,
        )
    }

    pub(crate) fn no_path(path: &str) -> Self {
        let shown: String = path.chars().take(80).collect();
        let detail = format!("nothing is at {shown:?}");
        Self::field(
            StatusCode::NOT_FOUND,
            "path",
            "a path of GET /api/v1/openapi.json",
            detail,
        )
    }

    pub(crate) fn retry(mut self, seconds: u32) -> Self {
        self.retry_s = Some(seconds);
        self
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            QueryError::Busy => Self::new(status, error.to_string()).retry(1),
            QueryError::TooLong => Self::field(
                status,
                "from_ms",
                "a shorter time, or a longer step",
                error.to_string(),
            ),
            QueryError::Unavailable(why) => {
                // Where the database is and what ails it is for the log.
                tracing::warn!(why, "the database cannot be read");
                Self::new(status, "the database cannot be read").retry(5)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, self.json()).into_response();
        if let Some(seconds) = self.retry_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
