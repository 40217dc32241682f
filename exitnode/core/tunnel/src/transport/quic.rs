//! QUIC: quinn's words in ours. Everything else quinn does by itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::{Broken, End, RecvHalf, SendHalf, Stream};

/// Cancel safe.
pub(super) async fn open(connection: &quinn::Connection) -> Result<Stream, Broken> {
    let opened = connection.open_bi().await;
    let (send, recv) = opened.map_err(|why| Broken::Lost(why.to_string()))?;
    Ok((SendHalf::Quic(send), RecvHalf::Quic(recv)))
}

/// Cancel safe.
pub(super) async fn accept(connection: &quinn::Connection) -> Option<Stream> {
    let (send, recv) = connection.accept_bi().await.ok()?;
    Some((SendHalf::Quic(send), RecvHalf::Quic(recv)))
}

pub(super) fn end(error: &ConnectionError) -> End {
    match error {
        ConnectionError::LocallyClosed => End::Us,
        ConnectionError::ApplicationClosed(close) => End::Peer {
            code: number(close.error_code),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        ConnectionError::TimedOut => End::Silence,
        ConnectionError::Reset => End::Forgotten,
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::TransportError(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::CidsExhausted => End::Failed(error.to_string()),
    }
}

pub(super) fn poll_write(
    stream: &mut quinn::SendStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<Result<usize, Broken>> {
    Pin::new(stream).poll_write(cx, bytes).map_err(broken_write)
}

/// All of `bytes`, or why not. A write that waits for the connection's window is not woken when its stream is stopped
/// (quinn-proto 0.11.19 looks at that window first): without the second arm it could wait for ever, and with it the app's
/// connection. Not cancel safe: part of the bytes may be written.
pub(super) async fn write(stream: &mut quinn::SendStream, bytes: Bytes) -> Result<(), Broken> {
    let stopped = stream.stopped();
    tokio::select! {
        biased;
        written = stream.write_chunk(bytes) => written.map_err(broken_write),
        stopped = stopped => match stopped {
            Ok(Some(code)) => Err(Broken::Given(number(code))),
            Ok(None) => Err(broken_write(WriteError::ClosedStream)),
            Err(why) => Err(Broken::Lost(why.to_string())),
        },
    }
}

/// Cancel safe.
pub(super) async fn stopped(stream: &mut quinn::SendStream) -> u32 {
    stream.stopped().await.ok().flatten().map_or(0, number)
}

fn broken_write(error: WriteError) -> Broken {
    match error {
        WriteError::Stopped(code) => Broken::Given(number(code)),
        WriteError::ConnectionLost(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            Broken::Lost(error.to_string())
        }
    }
}

pub(super) fn broken_read(error: ReadError) -> Broken {
    match error {
        ReadError::Reset(code) => Broken::Given(number(code)),
        ReadError::ConnectionLost(_)
        | ReadError::ClosedStream
        | ReadError::IllegalOrderedRead
        | ReadError::ZeroRttRejected => Broken::Lost(error.to_string()),
    }
}

fn number(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_connection_has_its_class() {
        let close = quinn::ApplicationClose {
            error_code: 2003u32.into(),
            reason: bytes::Bytes::from_static(b"revoked"),
        };
        let revoked = End::Peer {
            code: 2003,
            reason: "revoked".to_owned(),
        };
        let table = [
            (ConnectionError::ApplicationClosed(close), revoked),
            (ConnectionError::LocallyClosed, End::Us),
            (ConnectionError::TimedOut, End::Silence),
            (ConnectionError::Reset, End::Forgotten),
        ];
        for (error, expected) in table {
            assert_eq!(end(&error), expected, "{error}");
        }
    }
}
