//! WebSockets: the visitor's Upgrade (HTTP/1.1) or extended CONNECT (HTTP/2, RFC 8441) becomes an Upgrade to the app.
//!
//! Bytes of frames are not looked at. Apps with `appProtocol: H2C` get the same HTTP/1.1 Upgrade on a stream of its own.

use hawse_proto::codes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{Upstream, channel::Channel, head::Towards, http1, splice};
use crate::{
    body::{self, Body},
    dial::Dialer,
    endpoint::Side,
    fault::Fault,
    layers::Outcome,
    patience::Stalling,
    visit::{Protocol, Routed},
};

/// Serves one handshake, and after it the connection in a task of its own. Not cancel safe: dropping it before the answer
/// resets the stream to the app.
pub(super) async fn serve<D: Dialer>(up: &Upstream<D>, mut routed: Routed, side: Side) -> Outcome {
    if !routed.request.is_end_stream() {
        return Err(Fault::bad_request("A WebSocket handshake has no body."));
    }
    let visitor = hyper::upgrade::on(&mut routed.request);
    let over_h2 = routed.connection.protocol == Protocol::Http2;
    if over_h2 {
        routed
            .request
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_KEY, key(up.random)?);
    }
    let (ticket, connection) = (routed.ticket.clone(), routed.connection.clone());
    let idle = routed.tunnel.idle_timeout.unwrap_or(up.idle);
    let (about, request) = http1::prepare(routed, side, Towards::WebSocket)?;
    let mut answer = http1::exchange(up, &about, without_length(request)).await?;
    let status = answer.response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        // Over HTTP/2 any 2xx would mean that the WebSocket is open (RFC 8441, 5).
        return if over_h2 && status.is_success() {
            Err(Fault::new(
                &codes::APP_INVALID,
                format!("It answered {status} instead of opening the WebSocket."),
            ))
        } else {
            Ok(answer.into_response(about.endpoint.pool.clone()))
        };
    }
    if !answer
        .response
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
    {
        return Err(Fault::new(
            &codes::APP_INVALID,
            "It switched to another protocol than websocket.",
        ));
    }
    let app = hyper::upgrade::on(&mut answer.response);
    let response = opened(&answer.response, over_h2);
    let channel = answer.into_channel();
    connection.set_upgraded();
    let spliced = Stalling::new(
        async move {
            if let Some((visitor, app)) = both(visitor, app, channel).await {
                splice::run(TokioIo::new(visitor), TokioIo::new(app), idle, &ticket.tunnel.counters).await;
            }
            // The ticket counts it as in flight, the connection against the caps, until here.
            drop((ticket, connection));
        },
        &up.stalls,
    );
    up.tasks.spawn(async move {
        spliced.await;
    });
    Ok(response)
}

/// Both sides, once hyper has let go of them. Ends when either connection ends before.
async fn both(
    visitor: OnUpgrade,
    app: OnUpgrade,
    channel: Channel,
) -> Option<(hyper::upgrade::Upgraded, hyper::upgrade::Upgraded)> {
    let sides = tokio::try_join!(visitor, app);
    drop(channel);
    sides.ok()
}

/// The answer to the visitor: 101 with the app's fields, or 200 without those that HTTP/2 doesn't have.
fn opened(answer: &Response<hyper::body::Incoming>, over_h2: bool) -> Response<Body> {
    let mut response = Response::new(body::empty());
    response.headers_mut().clone_from(answer.headers());
    let (mut head, body) = response.into_parts();
    super::head::response(&mut head);
    head.headers.remove(header::CONTENT_LENGTH);
    if over_h2 {
        head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else {
        head.status = StatusCode::SWITCHING_PROTOCOLS;
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    Response::from_parts(head, body)
}

fn without_length(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().remove(header::CONTENT_LENGTH);
    *request.body_mut() = body::empty();
    request
}

/// 16 random bytes in base64 (RFC 6455, 4.1), which an HTTP/2 visitor doesn't send.
fn key(random: &dyn rustls::crypto::SecureRandom) -> Result<HeaderValue, Fault> {
    let mut bytes = [0; 16];
    random
        .fill(&mut bytes)
        .map_err(|_| Fault::new(&codes::OVERLOADED, "The system gives no random numbers."))?;
    HeaderValue::from_bytes(&base64(bytes))
        .map_err(|_| Fault::new(&codes::OVERLOADED, "The WebSocket's key could not be made."))
}

/// 16 bytes are five groups of three and one byte over: 22 digits and two `=`.
fn base64(bytes: [u8; 16]) -> [u8; 24] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from_be_bytes(bytes);
    let mut text = [b'='; 24];
    for (at, digit) in text.iter_mut().take(22).enumerate() {
        // 22 digits are 132 bits: the last digit holds two bits and four zeros.
        let six = if at == 21 { bits << 4 } else { bits >> (122 - 6 * at) };
        *digit = DIGITS[(six & 63) as usize];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_base64() {
        // RFC 6455, 1.3 and 4.1
        assert_eq!(&base64(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            &base64([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            b"AQIDBAUGBwgJCgsMDQ4PEA=="
        );
        assert_eq!(&base64([255; 16]), b"/////////////////////w==");
    }
}
