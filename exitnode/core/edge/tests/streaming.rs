//! Bodies in motion: nothing waits for its end, in neither direction, and either side may finish first.
#![allow(clippy::large_futures, reason = "tests don't care about the size of a future")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
};

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

#[tokio::test]
async fn events_come_one_by_one_and_the_first_at_once() {
    let next = Arc::new(Notify::new());
    let waits = next.clone();
    let scene = Scene::new(move |mut stream| {
        let next = waits.clone();
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                .await;
            for n in 0..3 {
                next.notified().await;
                let _ = stream.write_all(format!("data: {n}\n\n").as_bytes()).await;
            }
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let answer = soon(visitor.send_request(request("GET", "/events").body(no_body()).unwrap()))
        .await
        .unwrap();
    let mut body = answer.into_body();
    for n in 0..3 {
        next.notify_one();
        let event = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
    }
    assert!(soon(body.collect()).await.unwrap().to_bytes().is_empty());
    drop(visitor);

    let mut visitor = scene.h1().await;
    visitor.write_all(GET).await.unwrap();
    let head = read_head(&mut visitor).await.unwrap();
    assert!(
        head.contains("text/event-stream"),
        "the head came before any event: {head}"
    );
    next.notify_one();
    let mut got = vec![0; 64];
    let count = soon(visitor.read(&mut got)).await.unwrap();
    assert!(String::from_utf8_lossy(&got[..count]).contains("data: 0"));
}

#[tokio::test]
async fn an_upload_streams_and_answers_may_come_before_its_end() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        // Whatever comes goes back at once, as a chunk.
        let mut buf = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buf).await {
            let text = String::from_utf8_lossy(&buf[..count]).into_owned();
            let last = text.contains("0\r\n\r\n");
            let data = text.lines().nth(1).unwrap_or_default().to_owned();
            if !data.is_empty() {
                let _ = stream
                    .write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes())
                    .await;
            }
            if last {
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"one"))))
        .await
        .unwrap();
    let mut answer = soon(sending).await.unwrap().into_body();
    let first = soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one", "answered while the upload goes on");
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"two"))))
        .await
        .unwrap();
    assert_eq!(soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(send);
    assert!(soon(answer.collect()).await.is_ok());
}

#[tokio::test]
async fn ten_mebibytes_go_up_and_down_whole() {
    let scene = Scene::new(echo).await;
    let mut visitor = scene.h2().await;
    let bytes = Bytes::from(vec![7; 10 << 20]);
    let answer = soon(visitor.send_request(request("PUT", "/").body(bytes_body(bytes.clone())).unwrap()))
        .await
        .unwrap();
    let got = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(got.ends_with(&bytes) && got.len() > bytes.len());
    let counters = scene.counters();
    assert_eq!((counters.bytes_in, counters.bytes_out), (10 << 20, got.len() as u64));
}

#[tokio::test]
async fn an_upload_goes_on_though_the_visitor_does_not_read_yet() {
    // More than all buffers between them hold.
    const BYTES: usize = 32 << 20;
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let (mut request, mut answer) = stream.split();
        let mut upload = vec![0; BYTES];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
        let body = vec![7; BYTES];
        let answering = async {
            answer.write_all(head.as_bytes()).await?;
            answer.write_all(&body).await
        };
        let _ = tokio::join!(answering, request.read_exact(&mut upload));
    })
    .await;
    let mut visitor = scene.h1().await;
    let head = format!("POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: {BYTES}\r\n\r\n");
    visitor.write_all(head.as_bytes()).await.unwrap();
    soon(visitor.write_all(&vec![7; BYTES])).await.unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert_eq!((reply.status, reply.body.len()), (200, BYTES));
}

#[tokio::test]
async fn an_app_that_answers_before_the_upload_has_ended_is_heard() {
    let scene = Scene::new(|mut stream: TcpStream| async move {
        app_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"part"))))
        .await
        .unwrap();
    let answer = soon(sending).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "no");

    let mut visitor = scene.h1().await;
    let head = "POST / HTTP/1.1\r\nhost: shop.t.example\r\ncontent-length: 1000000\r\n\r\npart";
    visitor.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut visitor, false).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "no"));
    assert_eq!(
        scene.opened(),
        2,
        "a connection with half a request in it serves no other"
    );
}

#[tokio::test]
async fn a_connection_with_an_unfinished_upload_is_given_up_with_its_answer() {
    let (ended, mut ends) = mpsc::channel(1);
    let scene = Scene::new(move |mut stream: TcpStream| {
        let ended = ended.clone();
        async move {
            app_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = ended.send(()).await;
        }
    })
    .await;
    let mut visitor = scene.h2().await;
    let (send, receive) = mpsc::channel(1);
    let sending = visitor.send_request(request("POST", "/").body(Fed(receive).boxed()).unwrap());
    send.send(Ok(http_body::Frame::data(Bytes::from_static(b"part"))))
        .await
        .unwrap();
    let answer = soon(sending).await.unwrap();
    soon(answer.into_body().collect()).await.unwrap();
    soon(ends.recv()).await.unwrap();
    assert_eq!(scene.counters().in_flight, 0);
}
