use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::body;

/// A connection with one exchange behind it, and its app.
async fn used() -> (Channel, DuplexStream) {
    let (ours, mut app) = duplex(4096);
    let mut channel = Channel::open(ours, &Stalls::new(1)).await.unwrap();
    exchange(&mut channel, &mut app).await;
    (channel, app)
}

async fn exchange(channel: &mut Channel, app: &mut DuplexStream) {
    let answering = async {
        assert!(app.read(&mut [0; 1024]).await.unwrap() > 0);
        app.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(channel.send(Request::new(body::empty())), answering);
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn an_idle_connection_can_be_used_again_until_the_app_closes_it() {
    let (mut channel, app) = used().await;
    assert!(channel.is_reusable() && channel.is_open() && channel.ready().await);
    drop(app);
    assert!(!channel.is_open());
    assert!(!channel.is_reusable() && !channel.ready().await);
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_comes_back_unsent() {
    let (mut channel, app) = used().await;
    drop(app);
    let mut failed = channel
        .send(Request::new(body::full("of the visitor")))
        .await
        .unwrap_err();
    assert!(failed.take_message().is_some());
}

#[test]
fn it_ends_in_order_also_where_no_runtime_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (channel, mut app) = runtime.block_on(used());
    channel.retire();
    assert_eq!(runtime.block_on(app.read(&mut [0])).unwrap(), 0);
}

#[tokio::test]
async fn one_with_a_task_goes_on_while_nobody_waits_and_ends_in_order_too() {
    let tasks = Tasks::default();
    let (mut channel, mut app) = used().await;
    channel.detach(&tasks);
    assert!(channel.ready().await && channel.is_reusable());
    exchange(&mut channel, &mut app).await;
    channel.retire();
    assert_eq!(app.read(&mut [0]).await.unwrap(), 0);
}
