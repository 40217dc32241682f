//! Moves the frames of one HTTP/2 connection until it is over, and sees that the last ones go out.

use bytes::Bytes;
use h2::{client, server};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Io;
use super::halves::{self, RecvHalf, SendHalf};
use super::meter::Meter;
use crate::limits;
use crate::transport::{End, Stream};

/// Whom we talk to.
pub(super) enum Peer<T: Io> {
    Agent(Box<client::Connection<Meter<T>, Bytes>>),
    /// With where its streams go.
    ExitNode(Box<server::Connection<Meter<T>, Bytes>>, mpsc::Sender<Stream>),
}

/// The exit node's side.
pub(super) fn client_settings() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .max_header_list_size(limits::HEADER_LIST_BYTES)
        .max_send_buffer_size(limits::STREAM_SEND_BUFFER_BYTES)
        .initial_max_send_streams(limits::STREAMS_PER_LINK as usize)
        .max_concurrent_reset_streams(limits::STREAMS_PER_LINK as usize)
        // Frames of streams that we gave up and forgot are no offence of the peer.
        .max_local_error_reset_streams(None)
        .enable_push(false);
    builder
}

/// The agent's side.
pub(super) fn server_settings() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::AGENT_CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .max_header_list_size(limits::HEADER_LIST_BYTES)
        .max_send_buffer_size(limits::STREAM_SEND_BUFFER_BYTES)
        // The control stream besides.
        .max_concurrent_streams(limits::STREAMS_PER_LINK + 1)
        .max_concurrent_reset_streams(limits::STREAMS_PER_LINK as usize)
        // Visitors who leave all at once, while the agent is busy, are no attack of the exit node.
        .max_pending_accept_reset_streams(limits::STREAMS_PER_LINK as usize)
        .max_local_error_reset_streams(None);
    builder
}

/// Starts the driver in `tasks`; what comes back is closed when it has ended.
pub(super) fn spawn<T: Io>(
    tasks: &mut JoinSet<()>,
    end: &watch::Sender<Option<End>>,
    peer: Peer<T>,
) -> watch::Receiver<()> {
    let (driving, driven) = watch::channel(());
    let end = end.clone();
    tasks.spawn(async move {
        let mut said = end.subscribe();
        let outcome = tokio::select! {
            outcome = drive(peer) => outcome,
            () = last_words(end.subscribe()) => return drop(driving),
        };
        // What had arrived before may tell more: it is still being read.
        let _ = timeout(limits::CLOSE_GRACE, said.wait_for(Option::is_some)).await;
        let why = outcome
            .err()
            .map_or_else(|| "the peer hung up".to_owned(), |why| why.to_string());
        set(&end, End::Failed(why));
        drop(driving);
    });
    driven
}

/// Notes why the connection is over; false if that was known.
pub(super) fn set(end: &watch::Sender<Option<End>>, why: End) -> bool {
    end.send_if_modified(|end| {
        let first = end.is_none();
        if first {
            *end = Some(why);
        }
        first
    })
}

/// Resolves when there is nothing more to say: the peer has closed, or we did and gave it the time to hear so.
async fn last_words(mut end: watch::Receiver<Option<End>>) {
    let ours = end
        .wait_for(Option::is_some)
        .await
        .is_ok_and(|end| *end == Some(End::Us));
    if ours {
        sleep(limits::CLOSE_GRACE).await;
    }
}

async fn drive<T: Io>(peer: Peer<T>) -> Result<(), h2::Error> {
    match peer {
        Peer::Agent(connection) => connection.await,
        Peer::ExitNode(mut connection, streams) => {
            while let Some((request, mut answer)) = connection.accept().await.transpose()? {
                // Answered at once: what there is to say comes in its body. Past the bound it is dropped, which resets it.
                if let Ok(send) = answer.send_response(http::Response::new(()), false) {
                    let stream = halves::pair(SendHalf::new(send), RecvHalf::body(request.into_body()));
                    let _ = streams.try_send(stream);
                }
            }
            Ok(())
        }
    }
}
