//! Lets visitors of tunnels with an `oidc` policy sign in: passes `/.hawse/login` and its like to the identity service, renews
//! sessions that have expired, and sends browsers that have none to the login. It lets nobody in: that is access.rs's, right below.
//!
//! A tunnel without such a policy costs one branch, a visitor with a session the look at it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hawse_proto::codes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tower::{Layer, Service, ServiceExt};

use super::{Outcome, Step};
use crate::{
    access::{Access as Policies, cookies},
    body::{self, Body},
    fault::{self, Fault},
    identity_service::{IdentityService, answer},
    respond,
    visit::Routed,
};

/// Paths that are the identity service's.
const PATHS: [&str; 4] = [
    "/.hawse/login",
    "/.hawse/callback",
    "/.hawse/logout",
    BACKCHANNEL_LOGOUT,
];
/// It is called by the provider, not by a visitor.
const BACKCHANNEL_LOGOUT: &str = "/.hawse/backchannel-logout";

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SignInLayer {
    pub(crate) access: Arc<Policies>,
    pub(crate) service: Arc<IdentityService>,
}

#[derive(Debug, Clone)]
pub(crate) struct SignIn<S> {
    inner: S,
    layer: SignInLayer,
}

impl<S> Layer<S> for SignInLayer {
    type Service = SignIn<S>;

    fn layer(&self, inner: S) -> SignIn<S> {
        SignIn {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Routed> for SignIn<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Future<Output = Outcome> + Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        if routed.tunnel.access.is_empty() || !self.layer.access.signs_in(&routed.tunnel.access) {
            return Step::next(self.inner.call(routed));
        }
        let path = routed.request.uri().path();
        if PATHS.contains(&path) {
            if path != BACKCHANNEL_LOGOUT && self.layer.keeps_out(&routed) {
                return Step::next(self.inner.call(routed)); // says so
            }
            let service = self.layer.service.clone();
            return Step::later(pass(service, routed));
        }
        if self.layer.access.has_session(routed.visitor()) {
            return Step::next(self.inner.call(routed));
        }
        let headers = routed.request.headers();
        let (login, is_renewable) = (
            login(&routed.request),
            cookies::find(headers, cookies::REFRESH).is_some(),
        );
        if login.is_none() && !is_renewable {
            return Step::next(self.inner.call(routed));
        }
        let (inner, service) = (self.inner.clone(), self.layer.service.clone());
        let renewing = is_renewable && !self.layer.keeps_out(&routed);
        Step::later(async move {
            let (routed, renewed) = match renewing {
                true => renew(&service, routed).await?,
                false => (routed, Vec::new()),
            };
            finish(inner.oneshot(routed).await, renewed, login)
        })
    }
}

impl SignInLayer {
    fn keeps_out(&self, routed: &Routed) -> bool {
        let address = routed.connection.visitor(routed.request.headers());
        self.access.keeps_out(&routed.tunnel.access, address)
    }
}

async fn pass(service: Arc<IdentityService>, mut routed: Routed) -> Outcome {
    service.pass(&mut routed).await.map(answer)
}

/// The request with a newer session if there is one, and the cookies that the visitor gets in any case.
async fn renew(service: &IdentityService, mut routed: Routed) -> Result<(Routed, Vec<HeaderValue>), Fault> {
    let given: Response<Bytes> = service.renew(&routed).await?;
    let fields: Vec<HeaderValue> = given.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
    match given.status() {
        StatusCode::OK => {
            if let Some(session) = fields.iter().find_map(cookies::session_of) {
                cookies::renew(routed.request.headers_mut(), session);
            }
        }
        StatusCode::UNAUTHORIZED => {}
        _ => {
            let named = given.headers().get("x-hawse-error").and_then(|code| code.to_str().ok());
            let code = named.and_then(fault::by_text).unwrap_or(&codes::ACCESS_UNAVAILABLE);
            let detail = "You are signed in, but that could not be renewed. Your next try may succeed.";
            return Err(Fault::new(code, detail));
        }
    }
    Ok((routed, fields))
}

/// The answer with the newer cookies; the way to the login instead, if one has to sign in and can.
fn finish(outcome: Outcome, cookies: Vec<HeaderValue>, login: Option<HeaderValue>) -> Outcome {
    let mut response = match (outcome, login) {
        (Ok(response), _) => response,
        (Err(fault), Some(login)) if fault.code.number == codes::UNAUTHENTICATED.number => redirect(login),
        (Err(fault), _) => return Err(fault),
    };
    for field in cookies {
        response.headers_mut().append(header::SET_COOKIE, field);
    }
    Ok(response)
}

fn redirect(login: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, login);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where a browser that opens a page signs in; `None` for everything else: APIs, parts of pages, WebSockets.
fn login(request: &Request<Body>) -> Option<HeaderValue> {
    let headers = request.headers();
    let asks = matches!(*request.method(), Method::GET | Method::HEAD)
        && !headers.contains_key(header::UPGRADE)
        && !headers.contains_key(header::AUTHORIZATION);
    if !asks || !opens_a_page(headers) {
        return None;
    }
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut location = String::from("/.hawse/login?to=");
    for byte in target.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => location.push(byte.into()),
            _ => location.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(location).ok()
}

fn opens_a_page(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => respond::accepts_html(headers),
    }
}

#[cfg(test)]
#[path = "tests/sign_in.rs"]
mod tests;
