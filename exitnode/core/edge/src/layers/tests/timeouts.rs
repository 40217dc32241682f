use http::Request;
use tokio::sync::mpsc;

use super::*;
use crate::{
    body,
    layers::testing::{Fed, below, routed, tunnel},
};

const LAYER: TimeoutsLayer = TimeoutsLayer {
    request: Duration::from_secs(60),
    idle: Duration::from_secs(600),
};

fn get() -> Request<Body> {
    Request::get("/").body(body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_head_has_its_time_and_then_504() {
    for (request_ms, seconds) in [(0, 60), (5_000, 5)] {
        let begin = Instant::now();
        let mut service = LAYER.layer(below(|_: Routed| std::future::pending()));
        let tunnel = tunnel(|tunnel| tunnel.timeouts = Some(hawse_proto::ir::Timeouts { request_ms, idle_ms: 0 }));
        let fault = service.call(routed(&tunnel, get())).await.unwrap_err();
        assert_eq!(
            (fault.code.number, begin.elapsed()),
            (1004, Duration::from_secs(seconds))
        );
        assert!(fault.detail.contains(&format!("{seconds}s")), "{}", fault.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_the_head_starts_when_the_request_was_sent_whole() {
    let (send, receive) = mpsc::channel(1);
    let mut service = LAYER.layer(below(|routed: Routed| async move {
        let _ = routed.request.into_body().collect().await;
        std::future::pending().await
    }));
    let answer = service.call(routed(
        &tunnel(|_| {}),
        Request::post("/").body(Fed(receive).boxed_unsync()).unwrap(),
    ));
    let begin = Instant::now();
    let upload = async move {
        for _ in 0..10 {
            send.send(Bytes::from_static(b"x")).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    };
    let (fault, ()) = tokio::join!(answer, upload);
    assert_eq!(fault.unwrap_err().code.number, 1004);
    assert_eq!(begin.elapsed(), Duration::from_secs(600 + 60));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_takes_ends_with_the_idle_timeout() {
    let (_send, receive) = mpsc::channel(1);
    let mut service = LAYER.layer(below(|routed: Routed| async move {
        let _body = routed.request.into_body();
        std::future::pending().await
    }));
    let begin = Instant::now();
    let request = Request::post("/").body(Fed(receive).boxed_unsync()).unwrap();
    let fault = service.call(routed(&tunnel(|_| {}), request)).await.unwrap_err();
    assert_eq!((fault.code.number, begin.elapsed()), (1004, Duration::from_secs(600)));
}

async fn answered(send_later: mpsc::Receiver<Bytes>) -> Body {
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(Fed(send_later).boxed_unsync())));
    let mut service = LAYER.layer(below(move |_: Routed| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok(Response::new(body)) }
    }));
    service.call(routed(&tunnel(|_| {}), get())).await.unwrap().into_body()
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_pause_for_the_idle_time_and_no_longer() {
    let (send, receive) = mpsc::channel(1);
    let mut body = answered(receive).await;
    let begin = Instant::now();
    let events = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(599)).await;
            send.send(Bytes::from_static(b"event")).await.unwrap();
        }
        std::future::pending::<()>().await
    };
    let read = async {
        let mut count = 0;
        loop {
            match body.frame().await.unwrap() {
                Ok(_) => count += 1,
                Err(error) => return (count, crate::fault::code_of(&error).map(|code| code.number)),
            }
        }
    };
    let outcome = tokio::select! { outcome = read => outcome, () = events => (0, None) };
    assert_eq!(outcome, (3, Some(1004)));
    assert_eq!(begin.elapsed(), Duration::from_secs(3 * 599 + 600));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_keeps_a_silent_answer_alive() {
    let (send, receive) = mpsc::channel(1);
    let mut service = LAYER.layer(below(|routed: Routed| async move {
        // Answers at once; its body ends when the upload has ended.
        let body = routed
            .request
            .into_body()
            .map_frame(|frame| frame.map_data(|_| Bytes::new()));
        Ok(Response::new(body.boxed_unsync()))
    }));
    let request = Request::post("/").body(Fed(receive).boxed_unsync()).unwrap();
    let answer = service.call(routed(&tunnel(|_| {}), request)).await.unwrap();
    let upload = async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(500)).await;
            send.send(Bytes::from_static(b"x")).await.unwrap();
        }
    };
    let (collected, ()) = tokio::join!(answer.into_body().collect(), upload);
    assert!(collected.is_ok());
}
