//! Is a link that says nothing dead? The verdict of both sides, from what has arrived and the time. Pure: `now` is an argument.
//!
//! ```text
//! exit node   quiet --PROBE_AFTER--> asked --PROBE_SUSPECT--> suspect --PROBE_TIMEOUT--> lost
//!             an answer leads back to quiet; whatever else arrives puts the end off
//! agent       quiet --SILENCE--> lost
//! ```
//!
//! The exit node also asks when it has said nothing itself for as long, so that an agent which only sends hears something.
//! A process that slept asks again before it gives a link up: what had arrived is still unread. pulse.rs asks and obeys.

use std::time::Instant;

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

/// Counts that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// With whatever the peer says or acknowledges.
    pub(crate) heard: u64,
    /// With whatever we say.
    pub(crate) sent: u64,
}

/// The exit node's view of one link.
#[derive(Debug)]
pub(crate) struct Prober {
    silence: Silence,
    /// The first question that was not answered.
    asked: Option<Instant>,
}

impl Prober {
    pub(crate) fn new(now: Instant, signs: Signs) -> Self {
        Self {
            silence: Silence::new(now, signs),
            asked: None,
        }
    }

    pub(crate) fn look(&mut self, now: Instant, signs: Signs) -> Verdict {
        if self.silence.look(now, signs) {
            self.asked = None;
            return self.ask(now);
        }
        let Some(asked) = self.asked else {
            let quiet_since = self.silence.heard.min(self.silence.sent);
            return if now - quiet_since < PROBE_AFTER {
                Verdict::Fine
            } else {
                self.ask(now)
            };
        };
        let (waited, quiet) = (now - asked, now - asked.max(self.silence.heard));
        if quiet >= PROBE_TIMEOUT || waited >= PROBE_TIMEOUT_BUSY {
            Verdict::Lost
        } else if quiet >= PROBE_SUSPECT {
            Verdict::Suspect
        } else if now - self.silence.sent >= PROBE_AFTER {
            self.ask(now)
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
        let Silence { heard, sent, .. } = self.silence;
        let due = self
            .asked
            .map_or(heard.min(sent) + PROBE_AFTER, |asked| asked.max(heard) + PROBE_TIMEOUT);
        self.silence.next_look(due)
    }

    /// Asks before its time.
    pub(crate) fn ask(&mut self, now: Instant) -> Verdict {
        self.asked.get_or_insert(now);
        self.silence.sent = now;
        Verdict::Ask
    }
}

/// The agent's view of one link.
#[derive(Debug)]
pub(crate) struct Listener(Silence);

impl Listener {
    pub(crate) fn new(now: Instant, signs: Signs) -> Self {
        Self(Silence::new(now, signs))
    }

    /// As [`Prober::look`]; never asks.
    pub(crate) fn look(&mut self, now: Instant, signs: Signs) -> Verdict {
        if self.0.look(now, signs) {
            self.0.heard = now;
        }
        if now - self.0.heard >= AGENT_LIMIT {
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
    signs: Signs,
    /// When something new was seen last: at most `LOOK` after it happened.
    heard: Instant,
    sent: Instant,
    looked: Instant,
}

impl Silence {
    fn new(now: Instant, signs: Signs) -> Self {
        Self {
            signs,
            heard: now,
            sent: now,
            looked: now,
        }
    }

    /// Notes what is new; true: nobody has looked for so long that silence means nothing.
    fn look(&mut self, now: Instant, signs: Signs) -> bool {
        if signs.heard != self.signs.heard {
            self.heard = now;
        }
        if signs.sent != self.signs.sent {
            self.sent = now;
        }
        let slept = now - self.looked > LOOK + ASLEEP;
        (self.signs, self.looked) = (signs, now);
        slept
    }

    fn next_look(&self, due: Instant) -> Instant {
        due.min(self.looked + LOOK)
    }
}

#[cfg(test)]
mod tests;
