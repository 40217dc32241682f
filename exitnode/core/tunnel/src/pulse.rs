//! Asks a silent link whether it lives, through the path that visitors' bytes take, and gives it up if not.
//!
//! probe.rs decides; this is its shell, one for each link of hawse/1 and hawse-peer/1, where the side that has visitors asks.
//! Called by hub.rs.

use std::future::pending;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;

use hawse_proto::stream_open;
use tokio::time::{Instant, sleep_until};

use crate::limits::{PROBE_TIMEOUT, SILENCE};
use crate::link::{Link, Role};
use crate::probe::{Listener, Prober, Verdict};
use crate::transport::Broken;

/// Exit node, the side that opens streams: watches until the link is lost. Cancel safe.
pub(crate) async fn probe(link: &Link) {
    let mut prober = Prober::new(now(), link.connection.signs());
    let mut answer: Option<Answer<'_>> = None;
    let mut ask_now = false;
    loop {
        let verdict = if mem::take(&mut ask_now) {
            prober.ask(now())
        } else {
            prober.look(now(), link.connection.signs())
        };
        link.suspect.store(verdict == Verdict::Suspect, Relaxed);
        match verdict {
            Verdict::Lost => break,
            // The last question, if it was not answered, is not waited for any more.
            Verdict::Ask => answer = Some(Box::pin(ask(link))),
            Verdict::Fine | Verdict::Suspect => {}
        }
        tokio::select! {
            () = async { match &mut answer { Some(answer) => answer.await, None => pending().await } } => {
                answer = None;
                prober.answered();
            }
            () = sleep_until(prober.next_look().into()) => {}
            // Its agent is elsewhere, or a peer has not accepted a stream: whether this link is worth waiting for is to be known soon.
            () = link.ask_now.notified() => ask_now = true,
        }
    }
    let seconds = PROBE_TIMEOUT.as_secs();
    let whom = if link.role == Role::ToPeer {
        "exit node"
    } else {
        "agent"
    };
    link.lose(&format!("the {whom} has not answered for {seconds} s"));
}

type Answer<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Resolves once the agent has answered; never on a connection that is over.
async fn ask(link: &Link) {
    if answered(link).await.is_none() {
        pending().await
    }
}

async fn answered(link: &Link) -> Option<()> {
    let (mut send, mut recv) = link.connection.open().await.ok()?;
    if let Err(Broken::Lost(_)) = send.write(stream_open::probe()).await {
        return None;
    }
    send.finish();
    match recv.read(1).await {
        Ok(_) | Err(Broken::Given(_)) => Some(()),
        Err(Broken::Lost(_)) => None,
    }
}

/// The side that serves streams, an agent mostly: watches until the link is lost. Cancel safe.
pub(crate) async fn listen(link: &Link) {
    let mut listener = Listener::new(now(), link.connection.signs());
    while listener.look(now(), link.connection.signs()) != Verdict::Lost {
        sleep_until(listener.next_look().into()).await;
    }
    let seconds = SILENCE.as_secs_f32();
    link.lose(&format!("nothing was heard of the exit node for {seconds} s"));
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
