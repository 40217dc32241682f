use super::*;
use crate::limits::{STREAM_SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{DuplexStream, ReadBuf, duplex};
use tokio::time::{advance, timeout};

/// One end of a pipe that can stop: nothing passes, and nobody says so.
struct Pipe {
    inner: DuplexStream,
    stopped: Arc<AtomicBool>,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stopped.load(Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

struct Pair {
    node: Connection,
    agent: Connection,
    node_control: Control,
    agent_control: Control,
    stopped: Arc<AtomicBool>,
}

async fn pair() -> Pair {
    let (ours, theirs) = duplex(64 * 1024);
    let stopped = Arc::<AtomicBool>::default();
    let pipe = |inner| Pipe {
        inner,
        stopped: stopped.clone(),
    };
    let (node, agent) = tokio::join!(
        Connection::client(pipe(ours)),
        Connection::server(pipe(theirs), Duration::ZERO)
    );
    let ((node, node_control), (agent, agent_control)) = (node.unwrap(), agent.unwrap());
    Pair {
        node,
        agent,
        node_control,
        agent_control,
        stopped,
    }
}

impl Pair {
    /// A stream from both sides; the exit node has said this.
    async fn stream(&self, hello: &'static [u8]) -> (super::super::Stream, super::super::Stream) {
        let (mut send, recv) = self.node.open().await.unwrap();
        send.write(Bytes::from_static(hello)).await.unwrap();
        ((send, recv), self.agent.accept().await.unwrap())
    }
}

async fn all(recv: &mut crate::transport::RecvHalf) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(chunk) = recv.read(usize::MAX).await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_direction_ends_without_the_other() {
    let pair = pair().await;
    let ((mut send, mut recv), (mut back, mut come)) = pair.stream(b"request").await;
    send.finish();
    assert_eq!(all(&mut come).await.unwrap(), b"request");
    back.write(Bytes::from_static(b"answer")).await.unwrap();
    back.finish();
    assert_eq!(all(&mut recv).await.unwrap(), b"answer");
}

#[tokio::test]
async fn a_stream_that_is_given_up_carries_its_number_to_reader_and_writer() {
    let pair = pair().await;
    for (given, heard) in [(1003, 1003), (0, 0)] {
        let ((mut send, mut recv), (mut back, _come)) = pair.stream(b"x").await;
        back.reset(given);
        assert_eq!(all(&mut recv).await, Err(Broken::Given(heard)));
        let flood = async { while send.write(Bytes::from_static(&[0; 65_536])).await.is_ok() {} };
        flood.await;
        assert_eq!(send.write(Bytes::from_static(b"x")).await, Err(Broken::Given(heard)));
    }
}

#[tokio::test]
async fn what_nobody_reads_stops_its_own_stream_and_no_other() {
    let pair = pair().await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let ((send, recv), (mut back, come)) = pair.stream(b"x").await;
        let mut sent = 0;
        let flood = async {
            loop {
                back.write(Bytes::from_static(&[0; 65_536])).await.unwrap();
                sent += 65_536;
            }
        };
        let _ = timeout(Duration::from_millis(300), flood).await;
        let most = STREAM_WINDOW_BYTES as usize + STREAM_SEND_BUFFER_BYTES;
        assert!((STREAM_WINDOW_BYTES as usize - 65_536..=most).contains(&sent), "{sent}");
        stalled.push((send, recv, back, come));
    }
    for _ in 0..20 {
        let ((_send, mut recv), (mut back, _come)) = pair.stream(b"x").await;
        back.write(Bytes::from_static(&[1; 100_000])).await.unwrap();
        back.finish();
        let answer = timeout(Duration::from_secs(2), all(&mut recv)).await.unwrap();
        assert_eq!(answer.unwrap().len(), 100_000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_come_behind_the_frames_and_end_both_sides() {
    let Pair {
        node,
        agent,
        node_control: (mut send, _),
        agent_control: (_back, mut come),
        ..
    } = pair().await;
    send.write(Bytes::from_static(b"frame")).await.unwrap();
    node.close(2003, "revoked");
    assert_eq!(node.closed().await, End::Us);
    assert_eq!(all(&mut come).await.unwrap(), b"frame");
    let revoked = End::Peer {
        code: 2003,
        reason: "revoked".to_owned(),
    };
    assert_eq!(agent.closed().await, revoked);
    timeout(limits::CLOSE_GRACE, async {
        tokio::join!(node.settled(), agent.settled())
    })
    .await
    .expect("the one who reads them hangs up");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_hang_up_is_waited_for_no_longer_than_the_grace() {
    let pair = pair().await;
    pair.stopped.store(true, Relaxed);
    pair.node.close(0, "bye");
    timeout(limits::CLOSE_GRACE * 2, pair.node.settled()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_connection_breaks_its_streams_at_once() {
    let pair = pair().await;
    let ((_send, mut recv), _theirs) = pair.stream(b"x").await;
    pair.stopped.store(true, Relaxed);
    pair.node.abandon();
    let broken = timeout(Duration::from_millis(1), all(&mut recv)).await.unwrap();
    assert!(matches!(broken, Err(Broken::Lost(_))), "{broken:?}");
    assert_eq!(pair.node.closed().await, End::Us);
}

#[tokio::test]
async fn a_cut_is_a_broken_stream_and_never_a_short_one() {
    let Pair {
        node,
        agent,
        node_control: (_s, mut control),
        agent_control,
        ..
    } = pair().await;
    let (mut send, mut recv) = node.open().await.unwrap();
    send.write(Bytes::from_static(b"x")).await.unwrap();
    let (mut back, _come) = agent.accept().await.unwrap();
    back.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(recv.read(100).await, Ok(Some(Bytes::from_static(b"half"))));
    drop((agent, agent_control, back));
    assert!(matches!(recv.read(100).await, Err(Broken::Lost(_))));
    assert!(matches!(control.read(100).await, Err(Broken::Lost(_))));
    assert!(matches!(node.closed().await, End::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_left_within_five_seconds() {
    let Pair {
        node,
        node_control: _node_control,
        agent: _agent,
        agent_control: _control,
        stopped,
        ..
    } = pair().await;
    let link = crate::link::Link::new(1, crate::link::Role::ToAgent, crate::transport::Connection::Tcp(node));
    let since = Instant::now();
    stopped.store(true, Relaxed);
    advance(Duration::from_millis(1)).await;
    crate::pulse::probe(&link).await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(link.connection.closed().await, End::Us);
    assert!(link.closed_with().unwrap().lost);
}
