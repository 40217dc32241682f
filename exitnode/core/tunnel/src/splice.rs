//! Bytes between a stream of the link and a TCP connection to the app, each direction on its own.
//!
//! The end of one direction is passed on and the other goes on (half-close: a client that sends, ends and then reads gets
//! its answer). A broken direction is passed on as broken: a reset towards the exit node, RST towards the app, so that
//! nobody takes a cut message for a whole one. Buffers are held only while bytes flow. Called by agent.rs.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use hawse_proto::codes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::yield_now;

use crate::limits::{BUFFER_MAX_BYTES, BUFFER_MIN_BYTES};
use crate::link::Counters;
use crate::transport::{RecvHalf, SendHalf, Stream};

/// One direction broke, so that the other is of no use: the exit node gave the stream up, the link is gone, or the app
/// broke its connection.
struct Broken;

/// Copies both ways until both are over; `rest` came with the opening. Not cancel safe: dropping it cuts both sides.
pub(crate) async fn run(stream: Stream, mut app: TcpStream, rest: Bytes, counters: &Counters) {
    let (mut send, mut recv) = stream;
    let request_is_whole = AtomicBool::new(false);
    let outcome = {
        let (read, write) = app.split();
        let to_app = async {
            to_app(&mut recv, write, rest, counters).await?;
            request_is_whole.store(true, Relaxed);
            Ok(())
        };
        // The request first: its end and the news that nobody waits for the answer may come together.
        tokio::try_join!(biased; to_app, from_app(read, &mut send, counters))
    };
    if outcome.is_err() {
        send.reset(codes::APP_CLOSED.number);
        recv.stop(codes::APP_CLOSED.number);
        if !request_is_whole.load(Relaxed) {
            // RST: the app must not take what it has for a whole request.
            let _ = app.set_zero_linger();
        }
    }
}

async fn to_app(recv: &mut RecvHalf, mut app: WriteHalf<'_>, rest: Bytes, counters: &Counters) -> Result<(), Broken> {
    let mut bytes = rest;
    loop {
        counters.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
        if app.write_all(&bytes).await.is_err() {
            // The app reads no more, but it may have answered already ("413"): only this direction ends.
            recv.stop(codes::APP_CLOSED.number);
            return Ok(());
        }
        bytes = match recv.read(BUFFER_MAX_BYTES).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            Err(_) => return Err(Broken),
        };
    }
    let _ = app.shutdown().await; // an error: the app is gone, from_app will see it
    Ok(())
}

async fn from_app(mut app: ReadHalf<'_>, send: &mut SendHalf, counters: &Counters) -> Result<(), Broken> {
    let mut size = BUFFER_MIN_BYTES;
    loop {
        // An app that says nothing would otherwise hold a stream for ever that the exit node has given up.
        let bytes = tokio::select! {
            biased;
            bytes = read_some(&mut app, size) => bytes.map_err(|_| Broken)?,
            _ = send.stopped() => return Err(Broken),
        };
        if bytes.is_empty() {
            send.finish();
            return Ok(());
        }
        size = next_size(size, bytes.len());
        counters.bytes_out.fetch_add(bytes.len() as u64, Relaxed);
        send.write(bytes).await.map_err(|_| Broken)?;
    }
}

/// What the app has to say, at most `size` bytes, empty at its end; the buffer is made once there is something.
/// Cancel safe.
async fn read_some(app: &mut ReadHalf<'_>, size: usize) -> io::Result<Bytes> {
    loop {
        app.readable().await?;
        let mut buffer = BytesMut::with_capacity(size);
        let mut read = pin!(app.read_buf(&mut buffer));
        // One look, like `try_read_buf`. This knows besides that a buffer which is not filled was all there is, and spares
        // the next call the system call that says so.
        let looked = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
        if let Poll::Ready(count) = looked {
            return count.map(|_| buffer.freeze());
        }
        yield_now().await; // nothing there after all, or this task's turn is over
    }
}

/// Doubles when the buffer was filled, halves when it was hardly used.
fn next_size(size: usize, filled: usize) -> usize {
    if filled >= size {
        (size * 2).min(BUFFER_MAX_BYTES)
    } else if filled < size / 4 {
        (size / 2).max(BUFFER_MIN_BYTES)
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_follows_the_flow_between_its_bounds() {
        let table = [
            (BUFFER_MIN_BYTES, BUFFER_MIN_BYTES, BUFFER_MIN_BYTES * 2),
            (BUFFER_MAX_BYTES, BUFFER_MAX_BYTES, BUFFER_MAX_BYTES),
            (BUFFER_MAX_BYTES, 1, BUFFER_MAX_BYTES / 2),
            (BUFFER_MIN_BYTES, 1, BUFFER_MIN_BYTES),
            (65_536, 30_000, 65_536),
        ];
        for (size, filled, expected) in table {
            assert_eq!(next_size(size, filled), expected, "{size} {filled}");
        }
    }
}
