use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    body,
    layers::testing::{Fed, connection, shared},
    limits,
};

fn owed(inner: Body) -> OwedBody {
    let shared = shared();
    OwedBody::new(inner, connection(&shared, "shop.t.example").begin())
}

fn stalling<F: Future>(inner: F) -> Stalling<F> {
    Stalling::new(inner, &Stalls::default())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let begin = Instant::now();
    let outcome = stalling(async {
        let mut body = owed(body::full("answer"));
        body.frame().await.unwrap().unwrap();
        // The sender waits for room that never comes.
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!((outcome, begin.elapsed()), (None, limits::READER_STALL));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_few_bytes_a_minute_is_cut_off_however_fast_it_began() {
    let (begin, (send, receive)) = (Instant::now(), tokio::sync::mpsc::channel(1));
    let read = stalling(async move {
        let mut body = owed(Fed(receive).boxed_unsync());
        body.frame().await.unwrap().unwrap(); // 10 MB, taken at once
        while body.frame().await.is_some() {
            sleep(Duration::from_secs(25)).await;
        }
    });
    let app = async move {
        send.send(Bytes::from(vec![0; 10 << 20])).await.unwrap();
        while send.send(Bytes::from_static(b"twenty bytes of news")).await.is_ok() {}
    };
    let (outcome, ()) = tokio::join!(read, app);
    // Three times 20 bytes have earned 120 ms.
    assert_eq!(
        (outcome, begin.elapsed().as_secs()),
        (None, limits::READER_STALL.as_secs())
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_and_a_silent_app_are_not() {
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let read = stalling(async move {
        let mut body = owed(Fed(receive).boxed_unsync());
        let mut count = 0;
        while body.frame().await.is_some() {
            count += 1;
            sleep(limits::READER_STALL / 2).await;
        }
        count
    });
    let app = async move {
        let half_a_minutes_worth = vec![0; limits::READER_MIN_RATE as usize * 30];
        for _ in 0..9 {
            sleep(limits::READER_STALL * 10).await;
            send.send(Bytes::from(half_a_minutes_worth.clone())).await.unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(read, app);
    assert_eq!(outcome, Some(9));
}

#[tokio::test(start_paused = true)]
async fn after_the_answer_nothing_is_owed() {
    let outcome = stalling(async {
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
    let executor = StreamExecutor::new(&Tasks::default(), &Stalls::default());
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

#[tokio::test(start_paused = true)]
async fn past_so_many_stopped_readers_the_first_is_cut_off_at_once() {
    let begin = Instant::now();
    let executor = StreamExecutor::new(&Tasks::default(), &Stalls::default());
    let (done, mut ended) = tokio::sync::mpsc::channel(1);
    for number in 0..=limits::STALLED_READERS {
        let done = done.clone();
        executor.execute(async move {
            let _told = TellsNumber(number, done);
            let mut body = owed(body::full("answer"));
            body.frame().await.unwrap().unwrap();
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ended.recv().await, Some(0));
    let expected = limits::READER_NOTICED + Duration::from_millis(limits::STALLED_READERS as u64);
    assert_eq!(begin.elapsed(), expected, "as soon as the last one was noticed");
    assert_eq!(ended.recv().await, Some(1));
    assert!(
        begin.elapsed() >= limits::READER_STALL,
        "the others have their patience"
    );
}

struct TellsNumber(usize, tokio::sync::mpsc::Sender<usize>);

impl Drop for TellsNumber {
    fn drop(&mut self) {
        let _ = self.1.try_send(self.0);
    }
}
