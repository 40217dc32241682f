use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::DuplexStream,
    time::{Instant, timeout},
};

use super::*;
use crate::{limits, patience::Stalling, stalls::Stalls};

const HOUR: Duration = Duration::from_secs(3600);

/// Gives this many KiB, then nothing more.
struct Visitor(usize);

impl http_body::Body for Visitor {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.0 == 0 {
            return Poll::Pending;
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 1024])))))
    }
}

/// Sends a body over a connection to an app that has `read` bytes of it and reads no more: how long until it is given up.
async fn given_up(body: Body, read: usize) -> Option<Duration> {
    let (near, _far): (DuplexStream, DuplexStream) = tokio::io::duplex(read);
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(near)).await.unwrap();
    let (body, _sent) = watch(body);
    let (stalls, begun) = (Stalls::new(1), Instant::now());
    let sending = Stalling::new(connection, &stalls);
    let asking = sender.send_request(Request::post("/").body(body).unwrap());
    let both = async { tokio::join!(sending, asking) };
    let (ended, answer) = timeout(HOUR, both).await.ok()?;
    assert!(ended.is_none() && answer.is_err());
    Some(begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_app_that_stops_reading_a_body_is_given_up_like_a_visitor_that_stops_reading() {
    let after = given_up(Visitor(usize::MAX).boxed_unsync(), 64 << 10).await.unwrap();
    assert!(
        after >= limits::READER_STALL && after < limits::READER_STALL * 2,
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_visitor_or_for_the_answer_is_none_of_that() {
    assert_eq!(given_up(Visitor(3).boxed_unsync(), 64 << 10).await, None);
    let whole = Full::new(Bytes::from_static(&[7; 1024])).map_err(|never| match never {});
    assert_eq!(given_up(whole.boxed_unsync(), 64 << 10).await, None);
}
