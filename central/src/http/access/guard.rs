//! The one place through which every request of the API passes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Identity, Role};
use crate::http::Shared;
use crate::http::problem::Problem;

/// Counts the request, finds out who asks, and keeps other sites' requests out.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&shared, peer.ip().to_canonical(), &mut request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admit(shared: &Shared, peer: IpAddr, request: &mut Request) -> Result<(), Problem> {
    let identity = shared.access.identify(request.headers(), peer);
    // Who is known has a budget of their own; everybody else behind one address shares one.
    let key = match &identity {
        Ok(Some(identity)) if shared.access.has_login() => format!("user {}", identity.name),
        _ => format!("address {peer}"),
    };
    shared.access.admit(&key)?;
    if let Some(identity) = identity? {
        shared
            .access
            .check_origin(&identity, request.method(), request.headers())?;
        request.extensions_mut().insert(identity);
    }
    Ok(())
}

fn at_least(parts: &Parts, role: Role) -> Result<Identity, Problem> {
    match parts.extensions.get::<Identity>() {
        None => Err(Problem::field(
            StatusCode::UNAUTHORIZED,
            "authorization",
            "a session of POST /api/v1/login, as cookie or bearer token",
            "nobody is logged in",
        )),
        Some(identity) if identity.role < role => Err(Problem::field(
            StatusCode::FORBIDDEN,
            "role",
            role.name(),
            format!(
                "{} is {} and may not do this",
                identity.name,
                identity.role.name()
            ),
        )),
        Some(identity) => Ok(identity.clone()),
    }
}

/// Somebody who may look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer;

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        at_least(parts, Role::Viewer).map(|_| Self)
    }
}

/// Somebody who may acknowledge.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) Identity);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        at_least(parts, Role::Operator).map(Self)
    }
}

/// Somebody who may do everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin;

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        at_least(parts, Role::Admin).map(|_| Self)
    }
}
