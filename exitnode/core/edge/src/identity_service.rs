//! Asks the identity service (exitnode/hawse_identity, in this process, in Python) over its unix socket: one request a connection.
//!
//! It runs the sign-in; the edge calls it for `/.hawse/login` and its like, and to renew a session that has expired. Bounded in
//! time, bytes and number; without it nobody can sign in, and whoever is signed in goes on.

use std::{path::PathBuf, sync::OnceLock};

use bytes::{Bytes, BytesMut};
use hawse_proto::codes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};

use crate::{
    access::cookies,
    body::Body,
    fault::Fault,
    limits,
    visit::{self, Routed},
};

/// Which tunnel a request is for. What visitors send under this name is not passed.
const TUNNEL: HeaderName = HeaderName::from_static("x-hawse-tunnel");

/// See the module.
#[derive(Debug)]
pub(crate) struct IdentityService {
    socket: OnceLock<PathBuf>,
    calls: Semaphore,
}

impl Default for IdentityService {
    fn default() -> Self {
        Self {
            socket: OnceLock::new(),
            calls: Semaphore::new(limits::IDENTITY_CALLS),
        }
    }
}

impl IdentityService {
    /// Where it listens; the first word counts.
    pub(crate) fn listens_at(&self, socket: &str) {
        if !socket.is_empty() {
            let _ = self.socket.set(socket.into());
        }
    }

    /// Passes a visitor's request on, with its body. Cancel safe.
    pub(crate) async fn pass(&self, routed: &mut Routed) -> Result<Response<Bytes>, Fault> {
        let target = routed.request.uri().path_and_query().map_or("/", |path| path.as_str());
        let head = head(routed, routed.request.method(), target)?;
        let body = std::mem::replace(routed.request.body_mut(), crate::body::empty());
        let body = timeout(limits::IDENTITY_TIMEOUT, read(body)).await.ok().flatten();
        let body = body.ok_or_else(|| Fault::bad_request("The body is too long, or it did not arrive."))?;
        self.ask(Request::from_parts(head, Full::new(body))).await
    }

    /// Renews the session of a request: its answer has the newer cookies, or says that the sign-in is over. Not cancel safe: the
    /// provider may have renewed it, and the visitor has to sign in again.
    pub(crate) fn renew<'a>(
        &'a self,
        routed: &Routed,
    ) -> impl Future<Output = Result<Response<Bytes>, Fault>> + Send + use<'a> {
        let head = head(routed, &Method::POST, "/internal/refresh");
        async move { self.ask(Request::from_parts(head?, Full::default())).await }
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Fault> {
        let _call = self.calls.try_acquire().map_err(|_| {
            Fault::new(&codes::OVERLOADED, "Too many visitors sign in at the same time.")
                .retry_after(limits::TUNNEL_QUEUE_RETRY)
        })?;
        match timeout(limits::IDENTITY_TIMEOUT, self.exchange(request)).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(Fault::new(
                &codes::ACCESS_UNAVAILABLE,
                "Visitors cannot sign in at this exit node at the moment.",
            )),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Option<Response<Bytes>> {
        let stream = UnixStream::connect(self.socket.get()?).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let answer = async move {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = Limited::new(body, limits::IDENTITY_ANSWER_BYTES).collect().await.ok()?;
            Some(Response::from_parts(head, body.to_bytes()))
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            _ = connection => None, // it ended before the answer had
        }
    }
}

/// The whole body of a request, if it is not too long and does arrive.
async fn read(mut body: Body) -> Option<Bytes> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if read.len() + data.len() > limits::IDENTITY_REQUEST_BYTES {
            return None;
        }
        read.extend_from_slice(&data);
    }
    Some(read.freeze())
}

/// What the service may know of a request: our cookies, no others, and nothing that would pass for the edge's word.
fn head(routed: &Routed, method: &Method, target: &str) -> Result<request::Parts, Fault> {
    let mut head = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, &routed.authority.text)
        .header(TUNNEL, &routed.tunnel.uid)
        .header(visit::REQUEST_ID, routed.request_id.value());
    if let Some(ours) = cookies::ours(routed.request.headers()) {
        head = head.header(header::COOKIE, ours);
    }
    if let Some(kind) = routed.request.headers().get(header::CONTENT_TYPE) {
        head = head.header(header::CONTENT_TYPE, kind);
    }
    let built = head
        .body(())
        .map_err(|_| Fault::bad_request("The target is not valid."))?;
    Ok(built.into_parts().0)
}

/// Fields of the service's answers that visitors get.
pub(crate) const PASSED: [HeaderName; 8] = [
    header::LOCATION,
    header::SET_COOKIE,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::REFERRER_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::CONTENT_SECURITY_POLICY,
    HeaderName::from_static("x-hawse-error"),
];

/// The service's answer as the visitor gets it.
pub(crate) fn answer(given: Response<Bytes>) -> Response<Body> {
    let (head, body) = given.into_parts();
    let mut response = Response::new(crate::body::full(body));
    *response.status_mut() = head.status;
    for name in &PASSED {
        for value in head.headers.get_all(name) {
            response.headers_mut().append(name.clone(), HeaderValue::clone(value));
        }
    }
    response
}
