//! One HTTP/3 connection: takes up its requests, each a task of its own, and ends it in order.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use h3::{error::ConnectionError, frame::FrameStream, server, stream::BufRecvStream};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    guard::{Guarded, Ledger, RequestStream},
    request::Asked,
};
use crate::{front::Front, limits, visit::Connection};

/// Serves a connection until it ends. `drain` turns true when the listener stops. Not cancel safe: dropping it gives up the
/// connection's requests.
pub(super) async fn serve(
    front: Arc<Front>,
    quic: quinn::Connection,
    connection: Arc<Connection>,
    drain: watch::Receiver<bool>,
) {
    let ledger = Arc::new(Ledger::new(quic.clone()));
    // Twice what is taken: h3's own 431 has no code and no page, so the strict layer refuses before it.
    let section_bytes = 2 * front.limits.header_bytes as u64;
    let guarded = Guarded::new(quic, ledger.clone(), section_bytes);
    let mut builder = server::builder();
    // Grease would make clients work for nothing; WebSockets are served by the other protocols.
    builder.max_field_section_size(section_bytes).send_grease(false);
    if let Ok(Ok(h3)) = Box::pin(timeout(front.limits.handshake_timeout, builder.build(guarded))).await {
        let driver = Driver {
            h3,
            front,
            connection,
            ledger,
            requests: JoinSet::new(),
            goodbye: None,
        };
        Box::pin(driver.run(drain)).await;
    }
}

struct Driver {
    h3: server::Connection<Guarded, Bytes>,
    front: Arc<Front>,
    connection: Arc<Connection>,
    ledger: Arc<Ledger>,
    /// Dropped with the driver: requests of a connection that is lost are given up at once.
    requests: JoinSet<bool>,
    /// Set once GOAWAY was sent: until then late requests are refused, so that clients send them elsewhere.
    goodbye: Option<Instant>,
}

impl Driver {
    async fn run(mut self, mut drain: watch::Receiver<bool>) {
        let mut seen = 0;
        let mut look = Instant::now() + limits::CONNECTION_IDLE;
        loop {
            let finishing = self.goodbye.is_some();
            let finish = tokio::select! {
                accepted = poll_fn(|cx| self.h3.poll_accept_request_stream(cx)) => match accepted {
                    Ok(Some(stream)) => {
                        if finishing {
                            stream.reject();
                        } else {
                            self.take_up(stream);
                        }
                        false
                    }
                    Ok(None) => break, // the visitor said goodbye and asks no more
                    Err(_) => return,  // the connection is lost
                },
                Some(served) = self.requests.join_next() => served.unwrap_or(false),
                _ = drain.wait_for(|draining| *draining), if !finishing => true,
                () = sleep_until(look), if !finishing => {
                    let idle = self.requests.is_empty() && self.connection.started() == seen;
                    seen = self.connection.started();
                    look = Instant::now() + limits::CONNECTION_IDLE;
                    idle
                }
                () = sleep_until(self.goodbye.unwrap_or(look)), if finishing && self.requests.is_empty() => return,
            };
            if finish && self.finish().await.is_err() {
                return;
            }
        }
        // What was answered may not have arrived yet.
        while self.requests.join_next().await.is_some() {}
    }

    fn take_up(&mut self, stream: RequestStream) {
        let asked = Asked {
            front: self.front.clone(),
            connection: self.connection.clone(),
            ledger: self.ledger.clone(),
            watch: stream.watch(),
        };
        let resolver = self.h3.create_resolver(FrameStream::new(BufRecvStream::new(stream)));
        self.requests.spawn(asked.serve(resolver));
    }

    /// GOAWAY: no new requests, those that run go on.
    async fn finish(&mut self) -> Result<(), ConnectionError> {
        if self.goodbye.is_none() {
            self.goodbye = Some(Instant::now() + limits::H3_GOODBYE);
            // h3 names the last request plus this: the first that is not served any more (RFC 9114, 5.2).
            self.h3.shutdown(1).await?;
        }
        Ok(())
    }
}
