use std::collections::VecDeque;

use super::*;

/// A body of these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn frames(texts: &[&'static str]) -> Body {
    Frames(
        texts
            .iter()
            .map(|text| Frame::data(Bytes::from_static(text.as_bytes())))
            .collect(),
    )
    .boxed_unsync()
}

async fn read(body: Body) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn kept(budget: &Budget) -> usize {
    budget.0.load(Relaxed)
}

#[tokio::test]
async fn what_was_read_and_what_was_not_are_read_again_in_order() {
    let budget = Budget::default();
    let (mut first, tape) = Tape::record(frames(&["one ", "two ", "three"]), &budget);
    let frame = first.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one ");
    assert_eq!(kept(&budget), 4);
    let second = tape.rewind().unwrap();
    assert!(first.frame().await.unwrap().is_err(), "the first reader is given up");
    assert_eq!(read(second).await, "one two three");
    drop(first);
    assert_eq!(kept(&budget), 0);
}

#[tokio::test]
async fn a_body_that_nobody_has_read_is_there_as_a_whole_with_its_trailers() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let body = Frames([Frame::data(Bytes::from_static(b"a")), Frame::trailers(trailers)].into()).boxed_unsync();
    let (first, tape) = Tape::record(body, &Budget::default());
    let read_once = first.collect().await.unwrap();
    assert_eq!(read_once.trailers().unwrap()["x-sum"], "1");
    let again = tape.rewind().unwrap().collect().await.unwrap();
    assert_eq!(again.trailers().unwrap()["x-sum"], "1");
    assert_eq!(again.to_bytes(), "a");
}

#[tokio::test]
async fn a_body_over_the_bound_is_passed_on_and_gone() {
    let budget = Budget::default();
    let long = Bytes::from(vec![b'x'; limits::REPLAY_BYTES]);
    let frames = Frames([Frame::data(long.clone()), Frame::data(Bytes::from_static(b"!"))].into()).boxed_unsync();
    let (mut first, tape) = Tape::record(frames, &budget);
    first.frame().await.unwrap().unwrap();
    assert!(!tape.is_torn());
    assert_eq!(kept(&budget), limits::REPLAY_BYTES);
    assert_eq!(read(first).await, "!");
    assert!(tape.is_torn());
    assert_eq!(kept(&budget), 0);
    assert!(tape.rewind().is_none());
}

#[tokio::test]
async fn an_exit_node_keeps_no_more_than_its_budget() {
    let budget = Budget::default();
    assert!(budget.take(limits::REPLAY_TOTAL_BYTES - 1));
    let (first, tape) = Tape::record(frames(&["ab"]), &budget);
    assert_eq!(read(first).await, "ab");
    assert!(tape.rewind().is_none());
    assert_eq!(kept(&budget), limits::REPLAY_TOTAL_BYTES - 1);
}

#[tokio::test]
async fn an_answer_erases_the_tape_and_the_rest_of_the_body_goes_on() {
    let budget = Budget::default();
    let (mut first, tape) = Tape::record(frames(&["one ", "two"]), &budget);
    first.frame().await.unwrap().unwrap();
    tape.erase();
    assert_eq!(kept(&budget), 0);
    assert_eq!(read(first).await, "two");
    let (empty, tape) = Tape::record(body::empty(), &budget);
    assert!(empty.is_end_stream());
    assert!(tape.rewind().unwrap().is_end_stream());
}
