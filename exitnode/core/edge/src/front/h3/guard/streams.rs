//! A request's stream: both halves, and what its task knows and says of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{self, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::VarInt;

use super::{Ledger, receiving::Receiving, sending::Sending};

/// What both halves of a request's stream and its task know of it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The request was taken up: an answer that is not finished must not look whole.
    pub(super) answering: AtomicBool,
    /// The message is malformed.
    pub(super) malformed: AtomicBool,
    /// A reset of the visitor was counted.
    counted: AtomicBool,
}

/// How the visitor's side of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front::h3) enum Left {
    /// The visitor has all of it.
    WithAll,
    /// The visitor wants no more of it.
    Cancelled,
    /// The connection is gone.
    Lost,
}

/// Tells a stream what its request has become.
pub(in crate::front::h3) struct Mark(Arc<Shared>);

impl Mark {
    /// From now on an answer is sent; what ends before its end is reset.
    pub(in crate::front::h3) fn answering(&self) {
        self.0.answering.store(true, Relaxed);
    }

    /// The message is malformed: what ends now is reset by H3_MESSAGE_ERROR.
    pub(in crate::front::h3) fn malformed(&self) {
        self.0.malformed.store(true, Relaxed);
    }
}

/// What the task of a request holds of its stream.
pub(in crate::front::h3) struct Watch {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    left: Pin<Box<dyn Future<Output = Left> + Send>>,
}

impl Watch {
    pub(in crate::front::h3) fn mark(&self) -> Mark {
        Mark(self.shared.clone())
    }

    /// Resolves when the visitor has the whole answer or wants no more of it. Cancel safe; not to be polled after the end.
    pub(in crate::front::h3) async fn left(&mut self) -> Left {
        let left = self.left.as_mut().await;
        if left == Left::Cancelled {
            count(&self.shared, &self.ledger);
        }
        left
    }
}

/// A visitor cancels a request by two frames; they count once.
pub(super) fn count(shared: &Shared, ledger: &Ledger) {
    if !shared.counted.swap(true, Relaxed) {
        ledger.waste(1);
    }
}

/// A request's stream.
pub(in crate::front::h3) struct RequestStream {
    shared: Arc<Shared>,
    sending: Sending,
    receiving: Receiving,
}

impl RequestStream {
    pub(super) fn new(
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        ledger: &Arc<Ledger>,
        section_bytes: u64,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        Self {
            sending: Sending::new(send, Some(shared.clone())),
            receiving: Receiving::request(recv, ledger.clone(), section_bytes, shared.clone()),
            shared,
        }
    }

    /// Refuses the request unread: the visitor may send it elsewhere.
    pub(in crate::front::h3) fn reject(mut self) {
        use quic::{RecvStream as _, SendStream as _};
        self.receiving.stop_sending(Code::H3_REQUEST_REJECTED.value());
        self.sending.reset(Code::H3_REQUEST_REJECTED.value());
    }

    /// For the task that serves the request.
    pub(in crate::front::h3) fn watch(&self) -> Watch {
        let stopped = self.sending.stopped();
        Watch {
            shared: self.shared.clone(),
            ledger: self.receiving.ledger(),
            left: Box::pin(async move {
                match stopped.await {
                    Ok(None) => Left::WithAll,
                    Ok(Some(_)) => Left::Cancelled,
                    Err(_) => Left::Lost,
                }
            }),
        }
    }
}

impl quic::BidiStream<Bytes> for RequestStream {
    type SendStream = Sending;
    type RecvStream = Receiving;

    fn split(self) -> (Sending, Receiving) {
        (self.sending, self.receiving)
    }
}

impl quic::RecvStream for RequestStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.receiving.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

impl quic::SendStream<Bytes> for RequestStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.sending.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

#[expect(clippy::expect_used, reason = "both crates bound the number to 62 bits")]
pub(super) fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(VarInt::from(id))).expect("a QUIC stream's id")
}
