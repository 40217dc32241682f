use http::Request;
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    body,
    layers::testing::{Fed, below, routed, tunnel},
};

const LIMITS: BodyRateLayer = BodyRateLayer {
    grace: Duration::from_secs(10),
    rate: 500,
};

/// Reads the body that the layer hands down: bytes, and how it ended.
fn reading(content_type: &str) -> (mpsc::Sender<Bytes>, JoinHandle<(u64, Option<u32>)>) {
    let (send, receive) = mpsc::channel(1);
    let request = Request::post("/")
        .header("content-type", content_type)
        .body(Fed(receive).boxed_unsync())
        .unwrap();
    let (out, reader) = tokio::sync::oneshot::channel();
    let out = std::sync::Arc::new(std::sync::Mutex::new(Some(out)));
    let mut service = LIMITS.layer(below(move |routed: Routed| {
        let _ = out.lock().unwrap().take().unwrap().send(routed.request.into_body());
        async { Ok(Response::new(body::empty())) }
    }));
    let answer = service.call(routed(&tunnel(|_| {}), request));
    let read = async move {
        answer.await.unwrap();
        let mut body = reader.await.unwrap();
        let mut bytes = 0;
        loop {
            match body.frame().await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => return (bytes, crate::fault::code_of(&error).map(|code| code.number)),
                None => return (bytes, None),
            }
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test owns its task")]
    (send, tokio::spawn(read))
}

#[tokio::test(start_paused = true)]
async fn a_silent_body_ends_after_the_grace() {
    let begin = Instant::now();
    let (_send, read) = reading("text/plain");
    assert_eq!(read.await.unwrap(), (0, Some(1009)));
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body_gets_only_what_its_bytes_earn() {
    let begin = Instant::now();
    let (send, read) = reading("text/plain");
    while send.send(Bytes::from_static(&[1; 100])).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (bytes, code) = read.await.unwrap();
    // 100 bytes a second earn 0.2 s each: whole seconds of 500.
    assert_eq!(code, Some(1009));
    assert!(
        begin.elapsed() <= Duration::from_secs(14),
        "{bytes} bytes in {:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_at_the_rate_may_take_for_ever() {
    let (send, read) = reading("text/plain");
    for _ in 0..3600 {
        send.send(Bytes::from_static(&[1; 500])).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(send);
    assert_eq!(read.await.unwrap(), (500 * 3600, None));
}

#[tokio::test(start_paused = true)]
async fn grpc_may_be_silent() {
    let (send, read) = reading("application/grpc+proto");
    tokio::time::sleep(Duration::from_secs(600)).await;
    send.send(Bytes::from_static(b"late")).await.unwrap();
    drop(send);
    assert_eq!(read.await.unwrap(), (4, None));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_reads_slowly_is_not_the_visitors_fault() {
    let (send, receive) = mpsc::channel(8);
    let mut body = RatedBody::new(Fed(receive).boxed_unsync(), LIMITS);
    for _ in 0..5 {
        send.send(Bytes::from_static(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(body.frame().await.unwrap().is_ok());
    }
    // Waiting begins anew with the first poll that finds nothing.
    let begin = Instant::now();
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}
