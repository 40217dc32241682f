//! Is a link that says nothing dead? The verdict of both sides, from what has arrived and the time. Pure: `now` is an argument.
//!
//! ```text
//! exit node   quiet --PROBE_AFTER--> asked --PROBE_SUSPECT--> suspect --PROBE_TIMEOUT--> lost
//!             an answer leads back to quiet; whatever else arrives puts the end off
//! agent       quiet --SILENCE--> lost
//! ```
//!
//! A process that slept asks again before it gives a link up: what had arrived is still unread. pulse.rs asks and obeys.

use std::time::{Duration, Instant};

use crate::limits::{
    ASLEEP, LOOK, PROBE_AFTER, PROBE_SUSPECT, PROBE_TIMEOUT, PROBE_TIMEOUT_BUSY, SILENCE as AGENT_LIMIT,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Fine,
    /// Ask now.
    Ask,
    /// Asked, and no answer for a while: other links are better.
    Suspect,
    /// Leave it.
    Lost,
}

/// The exit node's view of one link.
#[derive(Debug)]
pub(crate) struct Prober {
    silence: Silence,
    asked: Option<Instant>,
}

impl Prober {
    pub(crate) fn new(now: Instant, received: u64) -> Self {
        Self {
            silence: Silence::new(now, received),
            asked: None,
        }
    }

    /// `received` is any count that grows with what arrives.
    pub(crate) fn look(&mut self, now: Instant, received: u64) -> Verdict {
        let slept = self.silence.look(now, received);
        let Some(asked) = self.asked.filter(|_| !slept) else {
            if !slept && self.silence.since(now) < PROBE_AFTER {
                return Verdict::Fine;
            }
            self.asked = Some(now);
            return Verdict::Ask;
        };
        let (waited, quiet) = (now - asked, now - asked.max(self.silence.heard));
        if quiet >= PROBE_TIMEOUT || waited >= PROBE_TIMEOUT_BUSY {
            Verdict::Lost
        } else if quiet >= PROBE_SUSPECT {
            Verdict::Suspect
        } else {
            Verdict::Fine
        }
    }

    /// The question was answered.
    pub(crate) fn answered(&mut self) {
        self.asked = None;
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Instant {
        let heard = self.silence.heard;
        let due = self
            .asked
            .map_or(heard + PROBE_AFTER, |asked| asked.max(heard) + PROBE_TIMEOUT);
        self.silence.next_look(due)
    }
}

/// The agent's view of one link.
#[derive(Debug)]
pub(crate) struct Listener(Silence);

impl Listener {
    pub(crate) fn new(now: Instant, received: u64) -> Self {
        Self(Silence::new(now, received))
    }

    /// As [`Prober::look`]; never asks.
    pub(crate) fn look(&mut self, now: Instant, received: u64) -> Verdict {
        if self.0.look(now, received) {
            self.0.heard = now;
        }
        if self.0.since(now) >= AGENT_LIMIT {
            Verdict::Lost
        } else {
            Verdict::Fine
        }
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Instant {
        self.0.next_look(self.0.heard + AGENT_LIMIT)
    }
}

#[derive(Debug)]
struct Silence {
    received: u64,
    /// When something new was seen last: at most `LOOK` after it arrived.
    heard: Instant,
    looked: Instant,
}

impl Silence {
    fn new(now: Instant, received: u64) -> Self {
        Self {
            received,
            heard: now,
            looked: now,
        }
    }

    /// Notes what is new; true: nobody has looked for so long that silence means nothing.
    fn look(&mut self, now: Instant, received: u64) -> bool {
        if received != self.received {
            (self.received, self.heard) = (received, now);
        }
        let slept = now.saturating_duration_since(self.looked) > LOOK + ASLEEP;
        self.looked = now;
        slept
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    fn next_look(&self, due: Instant) -> Instant {
        due.min(self.looked + LOOK)
    }
}

#[cfg(test)]
mod tests;
