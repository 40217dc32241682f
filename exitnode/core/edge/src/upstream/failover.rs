//! A request of a tunnel with a standby: to what answers now, and if that fails it, within the same request to the other one.
//!
//! A request goes a second time only if the app has certainly seen nothing of it, or if doing it twice does no harm: its method
//! is idempotent (RFC 9110, 9.2.2), or it has an Idempotency-Key. Never a third time, and never once the visitor has a part of an
//! answer: short ones are passed on whole.

use std::sync::Arc;

use hawse_proto::codes;
use http::{HeaderValue, Request, Response, request};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{
    Upstream,
    tape::{Budget, Tape},
};
use crate::{
    access::Identity,
    body::Body,
    dial::Dialer,
    endpoint::Side,
    fault::{self, Fault},
    layers::Outcome,
    limits,
    route::Tunnel,
    rules::Authority,
    standby::Standby,
    visit::{Connection, RequestId, Routed, Ticket},
};

/// Says that the standby has answered.
const TARGET: &str = "x-hawse-target";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Serves one request. Not cancel safe: dropping it resets the stream to the app, as it should.
pub(super) async fn serve<D: Dialer>(up: &Upstream<D>, standby: &Standby, routed: Routed) -> Outcome {
    let side = standby.state.active();
    let may_repeat = may_repeat(&routed.request);
    let (routed, spare) = Spare::of(routed, &up.tapes);
    let fault = match first(up, standby, routed, (side, may_repeat), &spare).await {
        Ok(response) => {
            spare.tape.erase();
            return Ok(answered(standby, side, response));
        }
        Err(fault) => fault,
    };
    if !is_lost(&fault) {
        return Err(fault);
    }
    standby.state.lost(Instant::now(), side, fault.code.title);
    let again = (fault.nothing_sent || may_repeat).then(|| spare.again()).flatten();
    let Some(again) = again else { return Err(fault) };
    let other = side.other();
    standby.state.repeated();
    match up.attempt(again, other).await {
        Ok(response) => Ok(answered(standby, other, response)),
        Err(fault) => {
            if is_lost(&fault) {
                standby.state.lost(Instant::now(), other, fault.code.title);
            }
            Err(fault)
        }
    }
}

/// The first attempt. One that waits for a primary which checks have found to hang is given up if it can be repeated.
async fn first<D: Dialer>(
    up: &Upstream<D>,
    standby: &Standby,
    routed: Routed,
    (side, may_repeat): (Side, bool),
    spare: &Spare,
) -> Outcome {
    let mut hung = standby.state.watch();
    let answer = up.attempt(routed, side);
    let mut attempt = Box::pin(async {
        match answer.await {
            Ok(response) if may_repeat && is_short(&response) => whole(response).await,
            other => other,
        }
    });
    tokio::select! {
        biased;
        outcome = &mut attempt => return outcome,
        _ = hung.changed(), if may_repeat && side == Side::Primary => {}
    }
    if spare.tape.is_torn() {
        return attempt.await;
    }
    Err(Fault::new(&codes::APP_TIMED_OUT, "It fails its health checks."))
}

/// Waits for the end of an answer, so that one which breaks off in the middle can still be asked for again.
async fn whole(response: Response<Body>) -> Outcome {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => {
            let body = whole.map_err(|never| match never {}).boxed_unsync();
            Ok(Response::from_parts(head, body))
        }
        Err(error) => Err(Fault::new(fault::code_of(&error).unwrap_or(&codes::APP_CLOSED), "")),
    }
}

/// It says its length, and there is little to wait for. What streams says none.
fn is_short(response: &Response<Body>) -> bool {
    let length = response.body().size_hint().exact();
    length.is_some_and(|length| (1..=limits::WHOLE_ANSWER_BYTES).contains(&length))
}

/// Doing it twice does no harm.
fn may_repeat(request: &Request<Body>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key(IDEMPOTENCY_KEY)
}

/// The target's doing, and no answer of its app.
fn is_lost(fault: &Fault) -> bool {
    const LOST: [u32; 7] = [
        codes::NO_AGENT.number,
        codes::APP_REFUSED.number,
        codes::APP_TIMED_OUT.number,
        codes::APP_CLOSED.number,
        codes::AGENT_LOST.number,
        codes::TARGET_NOT_ALLOWED.number,
        codes::CONFIGURATION_TOO_OLD.number,
    ];
    LOST.contains(&fault.code.number)
}

fn answered(standby: &Standby, side: Side, mut response: Response<Body>) -> Response<Body> {
    if side == Side::Standby {
        standby.state.answered();
        let name = HeaderValue::from_static("standby");
        response.headers_mut().insert(TARGET, name);
    }
    response
}

/// What a second attempt needs.
struct Spare {
    connection: Arc<Connection>,
    request_id: RequestId,
    authority: Authority,
    tunnel: Arc<Tunnel>,
    identity: Option<Arc<Identity>>,
    ticket: Arc<Ticket>,
    head: request::Parts,
    tape: Tape,
}

impl Spare {
    fn of(routed: Routed, budget: &Budget) -> (Routed, Self) {
        let (head, body) = routed.request.into_parts();
        let (body, tape) = Tape::record(body, budget);
        let spare = Self {
            connection: routed.connection.clone(),
            request_id: routed.request_id.clone(),
            authority: routed.authority.clone(),
            tunnel: routed.tunnel.clone(),
            identity: routed.identity.clone(),
            ticket: routed.ticket.clone(),
            head: head.clone(),
            tape,
        };
        let request = Request::from_parts(head, body);
        (Routed { request, ..routed }, spare)
    }

    /// The request once more; `None`: its body is gone.
    fn again(self) -> Option<Routed> {
        let body = self.tape.rewind()?;
        Some(Routed {
            connection: self.connection,
            request_id: self.request_id,
            authority: self.authority,
            tunnel: self.tunnel,
            identity: self.identity,
            ticket: self.ticket,
            request: Request::from_parts(self.head, body),
        })
    }
}
