use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::sleep;

use super::*;
use crate::{
    body,
    layers::testing::{Fed, connection, shared},
};

fn owed(inner: Body) -> OwedBody {
    let shared = shared();
    OwedBody::new(inner, connection(&shared, "shop.t.example").begin())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let begin = Instant::now();
    let outcome = Stalling::new(async {
        let mut body = owed(body::full("answer"));
        body.frame().await.unwrap().unwrap();
        // The sender waits for room that never comes.
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!((outcome, begin.elapsed()), (None, limits::READER_STALL));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_and_a_silent_app_are_not() {
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let read = Stalling::new(async move {
        let mut body = owed(Fed(receive).boxed_unsync());
        let mut count = 0;
        while body.frame().await.is_some() {
            count += 1;
            sleep(limits::READER_STALL - Duration::from_secs(1)).await;
        }
        count
    });
    let app = async move {
        for _ in 0..3 {
            sleep(limits::READER_STALL * 10).await;
            send.send(Bytes::from_static(b"event")).await.unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(read, app);
    assert_eq!(outcome, Some(3));
}

#[tokio::test(start_paused = true)]
async fn after_the_answer_nothing_is_owed() {
    let outcome = Stalling::new(async {
        let mut body = owed(body::full("answer"));
        body.frame().await.unwrap().unwrap();
        drop(body);
        sleep(limits::READER_STALL * 2).await;
    })
    .await;
    assert_eq!(outcome, Some(()));
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_clock() {
    let executor = StreamExecutor(Tasks::default());
    let (done, mut ended) = tokio::sync::mpsc::channel(2);
    for stalls in [true, false] {
        let done = done.clone();
        executor.execute(async move {
            let mut body = owed(body::full("answer"));
            body.frame().await.unwrap().unwrap();
            if stalls {
                std::future::pending::<()>().await;
            }
            drop(body);
            sleep(limits::READER_STALL * 2).await;
            done.send(()).await.unwrap();
        });
    }
    drop(done);
    assert_eq!(ended.recv().await, Some(()));
    assert_eq!(ended.recv().await, None);
}
