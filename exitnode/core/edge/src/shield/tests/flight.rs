use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;

use super::*;
use crate::body::Body;

const PIECE: usize = 64 << 10;

fn flight(room: usize) -> (Arc<Flight>, Arc<Semaphore>) {
    let room = Arc::new(Semaphore::new(room));
    (Flight::new(&room), room)
}

fn piece(number: u8) -> Bytes {
    vec![number; PIECE].into()
}

async fn next(body: &mut Body) -> Option<Result<Bytes, BoxError>> {
    let frame = timeout(Duration::from_secs(60), body.frame()).await.unwrap()?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn what_all_have_read_is_forgotten_and_its_room_given_back() {
    let (flight, room) = flight(limits::SHIELD_FLIGHTS_BYTES);
    let [mut fast, mut slow] = [(), ()].map(|()| flight.read().unwrap().boxed_unsync());
    for number in 0..4 {
        assert!(flight.push(piece(number)));
        next(&mut fast).await;
    }
    assert!(flight.slide().await, "well within the window");
    assert!(flight.read().is_some(), "nothing is forgotten yet");
    drop(flight.read());
    for _ in 0..3 {
        next(&mut slow).await;
    }
    assert!(flight.slide().await);
    assert!(flight.read().is_none());
    assert_eq!(
        limits::SHIELD_FLIGHTS_BYTES - room.available_permits(),
        PIECE + PIECE_BYTES
    );
    assert_eq!(next(&mut slow).await.unwrap().unwrap()[0], 3);
    drop((fast, slow));
    assert!(!flight.slide().await, "nobody reads");
    drop(flight);
    assert_eq!(room.available_permits(), limits::SHIELD_FLIGHTS_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_reader_for_whom_the_others_wait_is_cut_off() {
    let (flight, _room) = flight(limits::SHIELD_FLIGHTS_BYTES);
    let [mut fast, mut slow] = [(), ()].map(|()| flight.read().unwrap().boxed_unsync());
    for number in 0..17 {
        flight.push(piece(number));
        next(&mut fast).await;
    }
    let begun = Instant::now();
    assert!(flight.slide().await);
    assert_eq!(begun.elapsed(), limits::SHIELD_LAGGARD);
    assert!(next(&mut slow).await.unwrap().is_err());
    flight.push(piece(17));
    assert_eq!(next(&mut fast).await.unwrap().unwrap()[0], 17);
}

#[tokio::test(start_paused = true)]
async fn a_reader_alone_has_the_patience_that_it_has_without_a_shield() {
    let (flight, _room) = flight(limits::SHIELD_FLIGHTS_BYTES);
    let mut alone = flight.read().unwrap().boxed_unsync();
    for number in 0..17 {
        flight.push(piece(number));
    }
    assert!(timeout(Duration::from_secs(50), flight.slide()).await.is_err());
    for number in 0..2 {
        assert_eq!(next(&mut alone).await.unwrap().unwrap()[0], number);
    }
    assert!(timeout(Duration::from_secs(1), flight.slide()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn without_room_an_answer_goes_through_piece_by_piece() {
    let (flight, room) = flight(PIECE);
    let mut reader = flight.read().unwrap().boxed_unsync();
    for number in 0..3 {
        assert!(!flight.push(piece(number)), "it can't be kept");
        assert!(timeout(Duration::from_secs(1), flight.slide()).await.is_err());
        assert_eq!(next(&mut reader).await.unwrap().unwrap()[0], number);
        assert!(flight.slide().await);
    }
    flight.finish(None);
    assert!(next(&mut reader).await.is_none());
    assert_eq!(room.available_permits(), PIECE);
}

#[tokio::test(start_paused = true)]
async fn every_reader_gets_the_trailers_and_the_end_once() {
    let (flight, _room) = flight(limits::SHIELD_FLIGHTS_BYTES);
    let readers = [(), ()].map(|()| flight.read().unwrap().boxed_unsync());
    flight.push(piece(1));
    let fields: HeaderMap = [(http::header::ETAG, http::HeaderValue::from_static("\"a\""))]
        .into_iter()
        .collect();
    flight.finish(Some(fields.clone()));
    flight.cut(&hawse_proto::codes::AGENT_LOST); // too late to matter
    for reader in readers {
        let all = reader.collect().await.unwrap();
        assert_eq!(all.trailers(), Some(&fields));
        assert_eq!(all.to_bytes().len(), PIECE);
    }
}

#[tokio::test(start_paused = true)]
async fn single_bytes_cost_more_than_a_byte() {
    let (flight, room) = flight(100 * PIECE_BYTES);
    let _reader = flight.read().unwrap();
    let fitting = (0..1000).take_while(|_| flight.push(Bytes::from_static(b"x"))).count();
    assert_eq!(fitting, 98);
    drop(room);
}
