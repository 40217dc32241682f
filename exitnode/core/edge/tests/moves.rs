//! An agent moves to another link: pooled connections to its app over the one that it left serve nobody any more.
#![allow(
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "tests own their tasks and don't care about the size of a future"
)]

mod support;

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// May not be sent twice: it must not meet a connection that is about to break.
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 0\r\n\r\n";

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers every request with `ok`, and tells how its connection ended.
fn tells_its_end(ended: mpsc::Sender<std::io::Result<usize>>) -> impl Fn(TcpStream) -> Answering + Send + Sync {
    move |mut stream: TcpStream| {
        let ended = ended.clone();
        Box::pin(async move {
            let mut head = [0; 4096];
            let end = loop {
                match stream.read(&mut head).await {
                    Ok(1..) => {}
                    end => break end,
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
            };
            let _ = ended.send(end).await;
        })
    }
}

#[tokio::test]
async fn a_request_after_a_move_takes_a_stream_of_its_own_and_the_old_one_ends_in_order() {
    let (ended, mut ends) = mpsc::channel(8);
    let scene = Scene::new(tells_its_end(ended)).await;
    assert_eq!(scene.ask(POST).await.status, 200);
    scene.move_agent();
    assert_eq!(scene.ask(POST).await.status, 200);
    assert_eq!(scene.opened(), 2);
    assert!(matches!(soon(ends.recv()).await, Some(Ok(0))), "an end, no reset");
    assert_eq!(scene.ask(POST).await.status, 200);
    assert_eq!(scene.opened(), 2, "the new one is kept");
}

#[tokio::test]
async fn idle_connections_on_a_link_that_was_left_end_without_a_request() {
    let (ended, mut ends) = mpsc::channel(8);
    let scene = Scene::new(tells_its_end(ended)).await;
    assert_eq!(scene.ask(POST).await.status, 200);
    scene.move_agent();
    assert!(matches!(soon(ends.recv()).await, Some(Ok(0))), "an end, no reset");
}

#[tokio::test]
async fn an_answer_that_runs_over_a_move_is_whole_and_its_connection_is_not_kept() {
    let (go, mut goes) = mpsc::channel::<()>(1);
    let (ended, mut ends) = mpsc::channel(1);
    let rest = std::sync::Arc::new(tokio::sync::Mutex::new(Some(async move { goes.recv().await })));
    let scene = Scene::new(move |mut stream: TcpStream| {
        let (ended, rest) = (ended.clone(), rest.clone());
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
                .await;
            if let Some(rest) = rest.lock().await.take() {
                rest.await;
            }
            let _ = stream.write_all(b"lf").await;
            let _ = ended.send(stream.read(&mut [0]).await).await;
        }
    })
    .await;
    let mut visitor = scene.h1().await;
    visitor.write_all(POST).await.unwrap();
    read_head(&mut visitor).await.unwrap();
    scene.move_agent();
    go.send(()).await.unwrap();
    let mut body = [0; 4];
    soon(visitor.read_exact(&mut body)).await.unwrap();
    assert_eq!(&body, b"half");
    assert!(matches!(soon(ends.recv()).await, Some(Ok(0))), "an end, no reset");
}

#[tokio::test]
async fn calls_over_h2c_move_to_the_new_link_and_those_that_run_stay_on_the_old() {
    let (go, goes) = tokio::sync::watch::channel(false);
    let mut held = tunnel("u1", HOST);
    held.app_protocol = hawse_proto::ir::AppProtocol::H2c.into();
    let scene = Scene::with(hawse_proto::core::EdgeOptions::default(), held, move |stream| {
        let goes = goes.clone();
        async move {
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let mut goes = goes.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        goes.wait_for(|go| *go).await.unwrap();
                    }
                    Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(Bytes::from_static(
                        b"ok",
                    ))))
                }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let slow = tokio::spawn(visitor.send_request(request("GET", "/slow").body(no_body()).unwrap()));
    soon(async {
        while scene.counters().in_flight < 1 {
            tokio::task::yield_now().await;
        }
        while scene.opened() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    scene.move_agent();
    let quick = visitor.send_request(request("GET", "/").body(no_body()).unwrap());
    assert_eq!(soon(quick).await.unwrap().status(), 200);
    assert_eq!(scene.opened(), 2);
    go.send_replace(true);
    assert_eq!(soon(slow).await.unwrap().unwrap().status(), 200);
}
