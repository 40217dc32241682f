//! HTTP/2 only: ends connections that send many frames which cost work and carry nothing.
//!
//! h2 bounds resets that it has not taken up yet and CONTINUATION; a client that reads what it causes (PING, SETTINGS, open
//! and reset in a loop) passes there. The meter reads frame headers as bytes pass, 9 bytes each, and never keeps a payload.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::bucket::{Bucket, TooMany};
use crate::{limits, visit::Connection};

/// `PRI * HTTP/2.0 ...`: h2 checks it.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;

/// Pure: frame headers and a token bucket.
#[derive(Debug)]
struct Meter {
    /// Bytes to pass over: the preface, then payloads.
    skip: usize,
    header: [u8; HEADER_BYTES],
    have: usize,
    idle: Bucket,
    /// Bytes that were sent and for which no WINDOW_UPDATE has come.
    sent: u64,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            have: 0,
            idle: Bucket::new(
                now,
                limits::H2_CONTROL_FRAME_BURST,
                limits::H2_CONTROL_FRAMES_PER_SECOND,
            ),
            sent: 0,
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    fn feed(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), TooMany> {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let missing = HEADER_BYTES - self.have;
            let part = bytes.get(..missing.min(bytes.len())).unwrap_or_default();
            if let Some(free) = self.header.get_mut(self.have..self.have + part.len()) {
                free.copy_from_slice(part);
            }
            self.have += part.len();
            bytes = bytes.get(part.len()..).unwrap_or_default();
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant) -> Result<(), TooMany> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let first_flag = flags & 1 != 0;
        let idle = match kind {
            0 => self.skip == 0 && !first_flag, // DATA: END_STREAM
            4 => !first_flag,                   // SETTINGS: ACK, of which h2 takes no more than it asked for
            2 | 3 | 6 => true,                  // PRIORITY, RST_STREAM, PING
            8 => !self.is_paid(),               // WINDOW_UPDATE
            1 | 5 | 7 | 9 => false,             // HEADERS, PUSH_PROMISE, GOAWAY, CONTINUATION
            _ => true,
        };
        if !idle {
            return Ok(());
        }
        self.idle.spend(now)
    }

    /// A WINDOW_UPDATE that answers to bytes of ours.
    fn is_paid(&mut self) -> bool {
        let rest = self.sent.checked_sub(limits::H2_BYTES_PER_WINDOW_UPDATE);
        self.sent = rest.unwrap_or(self.sent);
        rest.is_some()
    }
}

/// A connection with a meter on what the visitor sends; notes when it takes no more.
pub(super) struct Metered<S> {
    inner: S,
    meter: Meter,
    connection: Arc<Connection>,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self {
            inner,
            meter: Meter::new(Instant::now()),
            connection,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut me.inner).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(me.meter.feed(new, Instant::now()).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = Pin::new(&mut me.inner).poll_write(cx, buf);
        me.connection.set_unsent(written.is_pending());
        let written = ready!(written)?;
        me.meter.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let flushed = Pin::new(&mut me.inner).poll_flush(cx);
        me.connection.set_unsent(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = Pin::new(&mut me.inner).poll_write_vectored(cx, bufs);
        me.connection.set_unsent(written.is_pending());
        let written = ready!(written)?;
        me.meter.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![4; payload]].concat()
    }

    fn preface() -> Vec<u8> {
        vec![b'P'; PREFACE_BYTES]
    }

    fn burst() -> usize {
        limits::H2_CONTROL_FRAME_BURST as usize
    }

    #[test]
    fn frames_that_carry_nothing_are_counted_and_others_are_not() {
        for (name, kind, flags, payload, counted) in [
            ("empty DATA", 0, 0, 0, true),
            ("empty DATA, END_STREAM", 0, 1, 0, false),
            ("DATA", 0, 0, 10, false),
            ("HEADERS", 1, 4, 20, false),
            ("PRIORITY", 2, 0, 5, true),
            ("RST_STREAM", 3, 0, 4, true),
            ("SETTINGS", 4, 0, 6, true),
            ("SETTINGS ACK", 4, 1, 0, false),
            ("PING", 6, 0, 8, true),
            ("PING ACK", 6, 1, 8, true),
            ("WINDOW_UPDATE", 8, 0, 4, true),
            ("PRIORITY_UPDATE", 16, 0, 9, true),
        ] {
            let now = Instant::now();
            let mut meter = Meter::new(now);
            let all = [preface(), frame(kind, flags, payload).repeat(burst() + 1)].concat();
            assert_eq!(meter.feed(&all, now).is_err(), counted, "{name}");
        }
    }

    #[test]
    fn window_updates_that_answer_to_bytes_of_ours_are_free() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        assert!(meter.feed(&preface(), now).is_ok());
        // Two for each of the smallest DATA frames.
        for _ in 0..10 * burst() {
            meter.wrote(10);
            assert!(meter.feed(&frame(8, 0, 4).repeat(2), now).is_ok());
        }
        assert_eq!(meter.idle, Meter::new(now).idle);
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_counts_the_same(
            kinds in proptest::collection::vec((0_u8..10, 0_u8..2, 0_usize..40), 1..60),
            cuts in proptest::collection::vec(1_usize..50, 1..60),
        ) {
            let now = Instant::now();
            let bytes: Vec<u8> = [preface()].into_iter().chain(kinds.into_iter().map(|(k, f, n)| frame(k, f, n))).flatten().collect();
            let mut whole = Meter::new(now);
            prop_assert!(whole.feed(&bytes, now).is_ok());
            let (mut cut, mut rest) = (Meter::new(now), bytes.as_slice());
            for at in cuts.iter().cycle() {
                let (part, after) = rest.split_at((*at).min(rest.len()));
                prop_assert!(cut.feed(part, now).is_ok());
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!((whole.idle, whole.skip, whole.have), (cut.idle, cut.skip, cut.have));
        }
    }
}
