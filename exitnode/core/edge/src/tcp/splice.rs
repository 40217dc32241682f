//! Copies bytes both ways between a visitor and an app: half-close, idle limit, and no buffer for a connection that is silent.
//!
//! One buffer serves every connection of the thread: what is read goes out in the same step, and only what the other side does
//! not take at once is kept, at most `TCP_BUFFER_BYTES` a direction; meanwhile nothing more is read (back-pressure). Called by
//! visitor.rs. WebSockets have upstream/splice.rs, whose sides are hyper's.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep},
};

use crate::{counters::Counters, limits, patience::Clock};

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::TCP_BUFFER_BYTES].into());
}

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both sides said that they have no more.
    Whole,
    /// The visitor broke its connection.
    Visitor,
    /// The app or the way to it broke.
    App,
    /// Nothing moved for too long.
    Idle,
}

/// What is on its way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Ways {
    up: Way,
    down: Way,
    /// All that the visitor has said, while the app has said nothing and it is not too much: for another app.
    tape: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Way {
    /// Read, and from `taken` on not taken by the other side.
    kept: Vec<u8>,
    taken: usize,
    /// There is no more to read.
    is_read: bool,
    /// The end was passed on, or the other side takes no more.
    is_over: bool,
}

/// Which side of a [`Way`] failed.
enum Broke {
    Source,
    Sink,
}

impl Ways {
    /// Keeps what the visitor says first.
    pub(super) fn taped() -> Self {
        Self {
            tape: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// All over again for another app; `None`: what the visitor said is not kept.
    pub(super) fn rewind(&mut self) -> Option<Self> {
        let up = Way {
            kept: self.tape.take()?,
            is_read: self.up.is_read,
            ..Way::default()
        };
        Some(Self { up, ..Self::default() })
    }
}

/// Runs until it ends in one way or another. Not cancel safe: what was read and not written is in `ways`.
pub(super) async fn run<V, A>(
    (visitor, app): (&mut V, &mut A),
    ways: &mut Ways,
    idle: Duration,
    counters: &Counters,
) -> Ending
where
    V: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
{
    let clock = Clock::of_task();
    let (mut last, mut is_owing, mut is_refused) = (Instant::now(), false, false);
    let mut alarm = pin!(sleep(idle));
    poll_fn(|cx| {
        let Ways { up, down, tape } = &mut *ways;
        let mut has_moved = false;
        let step = up.poll(cx, (&mut *visitor, &mut *app), &mut has_moved, |bytes| {
            counters.took(bytes.len());
            keep(tape, bytes);
        });
        match step {
            Poll::Ready(Err(Broke::Source)) => return Poll::Ready(Ending::Visitor),
            // It may have said something before, and says why it is gone.
            Poll::Ready(Err(Broke::Sink)) => (up.is_over, is_refused) = (true, true),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let step = down.poll(cx, (&mut *app, &mut *visitor), &mut has_moved, |bytes| {
            counters.gave(bytes.len());
            *tape = None;
        });
        match step {
            Poll::Ready(Err(Broke::Source)) => return Poll::Ready(Ending::App),
            Poll::Ready(Err(Broke::Sink)) => return Poll::Ready(Ending::Visitor),
            Poll::Ready(Ok(())) if is_refused => return Poll::Ready(Ending::App),
            Poll::Ready(Ok(())) if up.is_over => return Poll::Ready(Ending::Whole),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        // A visitor owes that it takes what it is sent (patience.rs), from when a piece got stuck until all of it is gone.
        let owed = down.kept.len() - down.taken;
        if is_owing != (owed > 0) {
            is_owing = owed > 0;
            if let Some(clock) = &clock {
                clock.owe(is_owing.then_some(owed));
            }
        }
        if has_moved {
            last = Instant::now();
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if last + idle <= Instant::now() {
                return Poll::Ready(Ending::Idle);
            }
            alarm.as_mut().reset(last + idle);
        }
        Poll::Pending
    })
    .await
}

impl Way {
    /// Moves bytes until one side has to be waited for; ready once the end was passed on. `read` is shown all bytes.
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut R, &mut W),
        has_moved: &mut bool,
        mut read: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Broke>> {
        while !self.is_over {
            ready!(self.poll_write(cx, sink, has_moved)).map_err(|_| Broke::Sink)?;
            if self.is_read {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Broke::Sink)?;
                self.is_over = true;
                break;
            }
            let copied = READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer)).map_err(|_| Broke::Source)?;
                let bytes = buffer.filled();
                read(bytes);
                self.is_read = bytes.is_empty();
                *has_moved = true;
                let taken = match Pin::new(&mut *sink).poll_write(cx, bytes) {
                    Poll::Ready(taken) => taken.map_err(|_| Broke::Sink)?,
                    Poll::Pending => 0,
                };
                self.kept.extend_from_slice(bytes.get(taken..).unwrap_or_default());
                Poll::Ready(Ok(()))
            });
            ready!(copied)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the other side has all that was kept.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
        has_moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *sink).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
            *has_moved = true;
        }
        (self.kept, self.taken) = (Vec::new(), 0);
        Pin::new(sink).poll_flush(cx)
    }
}

/// Records until it is too much.
fn keep(tape: &mut Option<Vec<u8>>, bytes: &[u8]) {
    let has_room = |tape: &Vec<u8>| tape.len() + bytes.len() <= limits::TCP_TAPE_BYTES;
    *tape = tape.take().filter(has_room);
    if let Some(tape) = tape {
        tape.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
