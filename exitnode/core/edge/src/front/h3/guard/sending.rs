//! What is sent on a stream, with an honest end: what is not whole never looks whole.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{VarInt, WriteError};

use super::{
    lost, number,
    streams::{Shared, stream_id},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Something,
    /// Finished or reset.
    Ended,
}

/// What is sent on a stream.
pub(in crate::front::h3) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    state: Written,
    request: Option<Arc<Shared>>,
}

impl Sending {
    /// `request`: of which this is the answer; none on a stream of the protocol.
    pub(super) fn new(stream: quinn::SendStream, request: Option<Arc<Shared>>) -> Self {
        Self {
            stream,
            writing: None,
            state: Written::Nothing,
            request,
        }
    }

    /// Resolves when all was acknowledged (`None`) or the visitor wants no more (`Some`).
    pub(super) fn stopped(&self) -> impl Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + Send + use<> {
        self.stream.stopped()
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
                data.advance(written.map_err(unsent)?);
                self.state = Written::Something;
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("the last frame is not sent yet".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.state = Written::Ended;
        Poll::Ready(
            self.stream
                .finish()
                .map_err(|error| StreamErrorIncoming::Unknown(error.into())),
        )
    }

    fn reset(&mut self, reset_code: u64) {
        self.state = Written::Ended;
        let _ = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for Sending {
    /// quinn finishes a stream that is dropped: half an answer would look whole. h3 itself sends 431 and drops it unfinished.
    fn drop(&mut self) {
        let Some(request) = &self.request else { return };
        let code = match self.state {
            Written::Ended => return,
            _ if request.answering.load(Relaxed) => Code::H3_INTERNAL_ERROR,
            Written::Something => return,
            Written::Nothing if request.malformed.load(Relaxed) => Code::H3_MESSAGE_ERROR,
            Written::Nothing => Code::H3_REQUEST_INCOMPLETE,
        };
        let _ = self.stream.reset(number(code));
    }
}

fn unsent(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(error.into()),
    }
}
