use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use super::*;
use crate::{patience::Stalling, stalls::Stalls};

const HOUR: Duration = Duration::from_secs(3600);

/// (what the visitor and the app hold, what is copied between)
fn sides(buffer: usize) -> ([DuplexStream; 2], [DuplexStream; 2]) {
    let ((visitor, near), (far, app)) = (duplex(buffer), duplex(buffer));
    ([visitor, app], [near, far])
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_an_end_leaves_the_other_direction_open() {
    let ([mut visitor, mut app], [mut near, mut far]) = sides(64);
    let counters = Counters::default();
    let long = vec![7; 3 * limits::TCP_BUFFER_BYTES];
    let talk = async {
        visitor.write_all(b"ping").await.unwrap();
        visitor.shutdown().await.unwrap();
        let mut got = Vec::new();
        app.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"ping");
        // Sent while it is read: nothing is lost though neither side takes it in one piece.
        let (mut got, sent) = (Vec::new(), async {
            app.write_all(&long).await.unwrap();
            app.shutdown().await.unwrap();
        });
        let (read, ()) = tokio::join!(visitor.read_to_end(&mut got), sent);
        read.unwrap();
        assert!(got == long);
    };
    let mut ways = Ways::default();
    let (ending, ()) = tokio::join!(run((&mut near, &mut far), &mut ways, HOUR, &counters), talk);
    let read = counters.read("u");
    assert_eq!(
        (ending, read.bytes_in, read.bytes_out),
        (Ending::Whole, 4, long.len() as u64)
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_after_the_idle_limit_and_every_byte_begins_it_anew() {
    let ([mut visitor, mut app], [mut near, mut far]) = sides(64);
    let (counters, begin, mut ways) = (Counters::default(), Instant::now(), Ways::default());
    let talk = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        visitor.write_all(b"x").await.unwrap();
        app.read_u8().await.unwrap();
        std::future::pending::<()>().await;
    };
    let ending = tokio::select! {
        ending = run((&mut near, &mut far), &mut ways, Duration::from_secs(7), &counters) => ending,
        () = talk => unreachable!("it waits for ever"),
    };
    assert_eq!((ending, begin.elapsed()), (Ending::Idle, Duration::from_secs(12)));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_stops_the_other_and_no_more_than_one_buffer_is_kept() {
    let ([visitor, mut app], [mut near, mut far]) = sides(64);
    let (counters, mut ways, begin) = (Counters::default(), Ways::default(), Instant::now());
    let copied = Stalling::patient(
        run((&mut near, &mut far), &mut ways, HOUR, &counters),
        &Stalls::default(),
        Duration::from_secs(90),
    );
    let fill = async {
        let _ = app.write_all(&vec![0; 10 * limits::TCP_BUFFER_BYTES]).await;
    };
    let ended = tokio::select! {
        ended = copied => ended,
        () = fill => panic!("all of it was taken"),
    };
    assert_eq!(
        (ended, begin.elapsed()),
        (None, Duration::from_secs(90)),
        "as patient as was said"
    );
    assert!(ways.down.kept.len() <= limits::TCP_BUFFER_BYTES);
    drop(visitor);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_breaks_ends_it_and_says_which() {
    for (broken, expected) in [("visitor", Ending::Visitor), ("app", Ending::App)] {
        let ([visitor, app], [mut near, mut far]) = sides(1);
        let (mut visitor, mut app) = (Some(visitor), Some(app));
        let (counters, mut ways) = (Counters::default(), Ways::default());
        let talk = async {
            // A duplex shows that its other half is gone to whoever writes.
            if broken == "visitor" {
                visitor.take();
                let _ = app.as_mut().unwrap().write_all(b"late").await;
            } else {
                app.take();
                let _ = visitor.as_mut().unwrap().write_all(b"late").await;
            }
            std::future::pending::<()>().await;
        };
        let ending = tokio::select! {
            ending = run((&mut near, &mut far), &mut ways, HOUR, &counters) => ending,
            () = talk => unreachable!("it waits for ever"),
        };
        assert_eq!(ending, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_visitor_said_goes_to_another_app_once_and_only_before_the_first_one_spoke() {
    for (said, app_spoke, expected) in [
        (10, false, Some(10)),
        (limits::TCP_TAPE_BYTES, false, Some(limits::TCP_TAPE_BYTES)),
        (limits::TCP_TAPE_BYTES + 1, false, None),
        (10, true, None),
    ] {
        let ([mut visitor, mut app], [mut near, mut far]) = sides(64 << 10);
        let (counters, mut ways) = (Counters::default(), Ways::taped());
        visitor.write_all(&vec![1; said]).await.unwrap();
        if app_spoke {
            app.write_all(b"hello").await.unwrap();
        }
        let copied = run((&mut near, &mut far), &mut ways, Duration::from_secs(1), &counters);
        assert_eq!(copied.await, Ending::Idle);
        let again = ways.rewind();
        assert_eq!(again.as_ref().map(|ways| ways.up.kept.len()), expected);
        assert!(ways.rewind().is_none());
        let Some(mut again) = again else { continue };
        let ([_other, mut app], [_, mut far]) = sides(64 << 10);
        visitor.shutdown().await.unwrap();
        let mut got = Vec::new();
        let copied = run((&mut near, &mut far), &mut again, HOUR, &counters);
        tokio::select! {
            _ = copied => panic!("it ended"),
            read = app.read_to_end(&mut got) => assert_eq!(read.unwrap(), said),
        }
    }
}
