//! When a tunnel turns to its standby, and when back. Pure: events in, turns out; time comes with the event.
//!
//! ```text
//!            unhealthy_threshold checks failed in a row, or one connection lost
//!   Primary ────────────────────────────────────────────────────────────────────▶ Standby
//!      ▲                                                                             │
//!      └─────────────────────────────────────────────────────────────────────────────┘
//!        healthy_threshold checks passed in a row, and healthy for `failback`;
//!        or the standby was lost and the checks say that the primary is healthy
//! ```

use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::Side;

/// When to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) unhealthy_threshold: u32,
    pub(crate) healthy_threshold: u32,
    /// The primary has to have been healthy for so long before it gets requests again.
    pub(crate) failback: Duration,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A check of the primary.
    Passed,
    /// A check of the primary that got no good answer in time.
    Failed,
    /// A request or a check had no connection to this side, or lost it before an answer began.
    Lost(Side),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    active: Side,
    /// Checks in a row that spoke for a turn.
    run: u32,
    /// Since when the primary is healthy, while the standby is active.
    healthy_since: Option<Instant>,
}

impl Machine {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            active: Side::Primary,
            run: 0,
            healthy_since: None,
        }
    }

    pub(crate) fn active(&self) -> Side {
        self.active
    }

    /// An edit changes when to turn next, not what answers now.
    pub(crate) fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// True: it has turned.
    pub(crate) fn on(&mut self, now: Instant, event: Event) -> bool {
        match (self.active, event) {
            (Side::Primary, Event::Lost(Side::Primary)) => self.turn(),
            (Side::Primary, Event::Failed) => {
                self.run += 1;
                self.run >= self.settings.unhealthy_threshold && self.turn()
            }
            (Side::Primary, Event::Passed) => {
                self.run = 0;
                false
            }
            // Its requests go to the primary all the same, once.
            (Side::Primary, Event::Lost(Side::Standby)) => false,
            (Side::Standby, Event::Passed) => {
                self.run = self.run.saturating_add(1);
                let since = *self.healthy_since.get_or_insert(now);
                self.is_healthy() && now.saturating_duration_since(since) >= self.settings.failback && self.turn()
            }
            (Side::Standby, Event::Failed | Event::Lost(Side::Primary)) => {
                self.run = 0;
                self.healthy_since = None;
                false
            }
            (Side::Standby, Event::Lost(Side::Standby)) => self.is_healthy() && self.turn(),
        }
    }

    /// Of the primary, while the standby is active.
    fn is_healthy(&self) -> bool {
        self.run >= self.settings.healthy_threshold
    }

    fn turn(&mut self) -> bool {
        self.active = self.active.other();
        self.run = 0;
        self.healthy_since = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Side::*, *};

    const SETTINGS: Settings = Settings {
        unhealthy_threshold: 2,
        healthy_threshold: 2,
        failback: Duration::from_secs(30),
    };

    /// Events, each with the seconds since the last one -> what is active after each (P, S).
    fn run(script: &str) -> String {
        let mut machine = Machine::new(SETTINGS);
        let mut now = Instant::now();
        let step = |word: &str| {
            let (event, seconds) = word.split_at(1);
            now += Duration::from_secs(seconds.parse().unwrap_or(0));
            let event = match event {
                "+" => Event::Passed,
                "-" => Event::Failed,
                "p" => Event::Lost(Primary),
                "s" => Event::Lost(Standby),
                other => panic!("{other}"),
            };
            let before = machine.active();
            assert_eq!(machine.on(now, event), machine.active() != before);
            if machine.active() == Primary { 'P' } else { 'S' }
        };
        script.split_whitespace().map(step).collect()
    }

    #[test]
    fn turns_are_as_the_table_says() {
        for (what, script, expected) in [
            ("nothing is wrong", "+ + +", "PPP"),
            ("two failures in a row", "- -", "PS"),
            ("a pass between them", "- + - -", "PPPS"),
            ("one lost connection", "p", "S"),
            ("a lost standby that nobody uses", "s s", "PP"),
            ("healthy for 30 s", "p + +15 +15", "SSSP"),
            ("healthy for 29 s", "p + +15 +14", "SSSS"),
            ("one pass after 30 s of nothing", "p +60", "SS"),
            ("a failure in between starts anew", "p + +15 - + +15 +14 +1", "SSSSSSSP"),
            ("so does a request that still lost it", "p + +15 p + +15 +15", "SSSSSSP"),
            ("the standby is lost and the primary healthy", "p + + s", "SSSP"),
            ("the standby is lost and the primary not yet", "p + s + s", "SSSSP"),
            ("the standby is lost and the primary down", "p s s", "SSS"),
            ("back, then away again", "p + +30 - -", "SSPPS"),
            ("old failures do not count after a turn", "- p + +30 -", "PSSPP"),
        ] {
            assert_eq!(run(script), expected, "{what}");
        }
    }

    #[test]
    fn an_edit_keeps_what_answers() {
        let (mut machine, now) = (Machine::new(SETTINGS), Instant::now());
        assert!(machine.on(now, Event::Lost(Primary)));
        machine.set(Settings {
            failback: Duration::ZERO,
            healthy_threshold: 1,
            ..SETTINGS
        });
        assert_eq!(machine.active(), Standby);
        assert!(machine.on(now, Event::Passed));
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Passed),
            2 => Just(Event::Failed),
            1 => Just(Event::Lost(Primary)),
            1 => Just(Event::Lost(Standby)),
        ]
    }

    proptest! {
        #[test]
        fn it_never_goes_back_to_a_primary_that_is_not_known_to_be_healthy(
            events in prop::collection::vec((event(), 0_u64..20), 0..200),
            unhealthy in 1_u32..4, healthy in 1_u32..4, failback in 0_u64..60,
        ) {
            let settings = Settings {
                unhealthy_threshold: unhealthy,
                healthy_threshold: healthy,
                failback: Duration::from_secs(failback),
            };
            let (mut machine, start) = (Machine::new(settings), Instant::now());
            // What speaks against the primary was so long ago, and so many passed since.
            let (mut now, mut first_pass, mut passes, mut failures) = (start, None, 0, 0);
            for (event, seconds) in events {
                now += Duration::from_secs(seconds);
                let before = machine.active();
                match event {
                    Event::Passed => {
                        passes += 1;
                        failures = 0;
                        first_pass.get_or_insert(now);
                    }
                    Event::Failed => {
                        failures += 1;
                        (passes, first_pass) = (0, None);
                    }
                    Event::Lost(Primary) => (passes, first_pass) = (0, None),
                    Event::Lost(Standby) => {}
                }
                let turned = machine.on(now, event);
                prop_assert_eq!(turned, machine.active() != before);
                match (turned, machine.active()) {
                    (true, Primary) => {
                        prop_assert!(passes >= healthy);
                        let healthy_for = now - first_pass.unwrap();
                        prop_assert!(event == Event::Lost(Standby) || healthy_for.as_secs() >= failback);
                    }
                    (true, Standby) => prop_assert!(event == Event::Lost(Primary) || failures >= unhealthy),
                    (false, _) => {}
                }
                if turned {
                    (passes, failures, first_pass) = (0, 0, None);
                }
            }
        }
    }
}
