//! Copies bytes both ways between a visitor and the app after an upgrade: half-close, idle limit, no reading ahead.
//!
//! Each direction holds one buffer; a side that doesn't take bytes stops the other (back-pressure).

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, sleep_until},
};

use crate::{counters::Counters, limits, patience::Clock};

/// Runs until both sides ended, one broke, or nothing moved for `idle`. Not cancel safe: dropping it cuts both off.
pub(super) async fn run<V, A>(visitor: V, app: A, idle: Duration, counters: &Counters)
where
    V: AsyncRead + AsyncWrite,
    A: AsyncRead + AsyncWrite,
{
    let moved = Mutex::new(Instant::now());
    let last = || *moved.lock().unwrap_or_else(PoisonError::into_inner);
    let note = || *moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    let (visitor_reads, visitor_writes) = split(visitor);
    let (app_reads, app_writes) = split(app);
    // An app may stand in a debugger: towards it only the idle limit holds. A visitor owes what it was sent (patience.rs).
    let clock = Clock::of_task();
    let up = copy(visitor_reads, app_writes, |step| {
        note();
        if let Step::Read(bytes) = step {
            counters.took(bytes);
        }
    });
    let down = copy(app_reads, visitor_writes, |step| {
        note();
        let owed = match step {
            Step::Read(bytes) => {
                counters.gave(bytes);
                Some(bytes)
            }
            Step::Wrote => None,
        };
        if let Some(clock) = &clock {
            clock.owe(owed);
        }
    });
    let silence = async {
        while last() + idle > Instant::now() {
            sleep_until(last() + idle).await;
        }
    };
    tokio::select! {
        // A broken side ends both; nobody is left to be told why.
        _ = async { tokio::try_join!(up, down) } => {}
        () = silence => {}
    }
}

/// What one direction has just done.
enum Step {
    Read(usize),
    /// All that was read, to the last byte.
    Wrote,
}

/// One direction: what is read is written and flushed at once, the end is passed on as an end.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, did: impl Fn(Step)) -> io::Result<()> {
    let mut buffer = vec![0; limits::SPLICE_BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await;
        };
        did(Step::Read(count));
        to.write_all(bytes).await?;
        to.flush().await?;
        did(Step::Wrote);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::{patience::Stalling, stalls::Stalls};

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_and_an_end_leaves_the_other_direction_open() {
        let ((mut visitor, near), (far, mut app)) = (duplex(64), duplex(64));
        let counters = Counters::default();
        let talk = async {
            visitor.write_all(b"ping").await.unwrap();
            visitor.shutdown().await.unwrap();
            let mut got = Vec::new();
            app.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"ping");
            app.write_all(b"late answer").await.unwrap();
            app.shutdown().await.unwrap();
            let mut got = Vec::new();
            visitor.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"late answer");
        };
        tokio::join!(run(near, far, HOUR, &counters), talk);
        let read = counters.read("u");
        assert_eq!((read.bytes_in, read.bytes_out), (4, 11));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_after_the_idle_limit() {
        let ((_visitor, near), (far, _app)) = (duplex(64), duplex(64));
        let begin = Instant::now();
        run(near, far, Duration::from_secs(7), &Counters::default()).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_visitor_that_stops_reading_is_cut_off() {
        let ((_visitor, near), (far, mut app)) = (duplex(64), duplex(64));
        let begin = Instant::now();
        let fill = async {
            let _ = app.write_all(&[0; 64 << 10]).await;
        };
        let counters = Counters::default();
        let spliced = Stalling::new(run(near, far, HOUR, &counters), &Stalls::default());
        let (outcome, ()) = tokio::join!(spliced, fill);
        assert_eq!((outcome, begin.elapsed()), (None, limits::READER_STALL));
    }
}
