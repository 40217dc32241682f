use super::*;
use std::time::Duration;

use proptest::prelude::*;

/// Both sides silent but for these.
fn heard(heard: u64) -> Signs {
    Signs { heard, sent: heard }
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What happens at one look, milliseconds after the start.
#[derive(Debug, Clone, Copy)]
enum Step {
    Nothing,
    Received,
    Answered,
}
use Step::{Answered, Nothing, Received};

/// Looks every 250 ms until `until`, with these steps at their times; the verdicts that are not `Fine`, with theirs.
fn run(until: u64, steps: &[(u64, Step)]) -> Vec<(u64, Verdict)> {
    let start = start();
    let (mut prober, mut received, mut seen) = (Prober::new(start, heard(0)), 0, Vec::new());
    for at in (250..=until).step_by(250) {
        match steps
            .iter()
            .find(|(when, _)| *when == at)
            .map_or(Nothing, |step| step.1)
        {
            Nothing => {}
            Received => received += 1,
            Answered => {
                received += 1;
                prober.answered();
            }
        }
        match prober.look(start + ms(at), heard(received)) {
            Verdict::Fine => {}
            verdict => seen.push((at, verdict)),
        }
    }
    seen
}

#[test]
fn an_exit_node_asks_a_silent_link_doubts_it_and_leaves_it() {
    let seen = run(4500, &[]);
    let suspect = (2500..4500).step_by(250).map(|at| (at, Verdict::Suspect));
    let expected: Vec<_> = std::iter::once((1500, Verdict::Ask))
        .chain(suspect)
        .chain([(4500, Verdict::Lost)])
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn an_answer_is_worth_another_while() {
    assert_eq!(run(3000, &[(1750, Answered)]), [(1500, Verdict::Ask)]);
    let again = run(3250, &[(1750, Answered)]);
    assert_eq!(again, [(1500, Verdict::Ask), (3250, Verdict::Ask)]);
}

#[test]
fn a_link_on_which_something_arrives_is_not_asked() {
    let steps: Vec<_> = (1..20).map(|n| (n * 1250, Received)).collect();
    assert_eq!(run(20 * 1250, &steps), []);
}

#[test]
fn what_arrives_puts_the_end_off_but_not_for_ever() {
    let steps: Vec<_> = (6..80).map(|n| (n * 250, Received)).collect();
    // The first thing arrives with the question; the answer never does.
    let steps: Vec<_> = steps.into_iter().filter(|(at, _)| *at > 1500).collect();
    assert_eq!(run(16_500, &steps), [(1500, Verdict::Ask), (16_500, Verdict::Lost)]);
}

#[test]
fn an_agent_that_only_sends_hears_a_question_now_and_then() {
    let start = start();
    let mut prober = Prober::new(start, Signs::default());
    let asked: Vec<_> = (1..20)
        .map(|n| n * 250)
        .filter(|at| {
            let signs = Signs { heard: *at, sent: 0 };
            prober.look(start + ms(*at), signs) == Verdict::Ask
        })
        .collect();
    assert_eq!(asked, [1500, 3000, 4500], "also while the first answer is on its way");
}

#[test]
fn an_agent_that_only_receives_is_asked_and_not_left_while_it_takes_something() {
    let start = start();
    let mut prober = Prober::new(start, Signs::default());
    for at in (1..40).map(|n| n * 250) {
        let signs = Signs {
            heard: at / 2000,
            sent: at,
        };
        assert_ne!(prober.look(start + ms(at), signs), Verdict::Lost, "{at}");
    }
}

#[test]
fn who_slept_asks_again_before_leaving() {
    let start = start();
    let mut prober = Prober::new(start, heard(0));
    for at in (250..=4250).step_by(250) {
        prober.look(start + ms(at), heard(0));
    }
    let awake = start + ms(3_600_000);
    assert_eq!(
        prober.look(awake, heard(0)),
        Verdict::Ask,
        "asked before the lid was closed"
    );
    assert_eq!(prober.look(awake + ms(250), heard(0)), Verdict::Fine);
    let mut listener = Listener::new(start, heard(0));
    assert_eq!(listener.look(awake, heard(0)), Verdict::Fine);
    assert_eq!(listener.look(awake + ms(250), heard(0)), Verdict::Fine);
}

#[test]
fn an_agent_leaves_after_its_limit_and_not_before() {
    let start = start();
    let mut listener = Listener::new(start, heard(0));
    for at in (250..4500).step_by(250) {
        assert_eq!(listener.look(start + ms(at), heard(0)), Verdict::Fine);
    }
    assert_eq!(listener.look(start + ms(4500), heard(0)), Verdict::Lost);
    assert_eq!(listener.look(start + ms(4750), heard(1)), Verdict::Fine);
}

proptest! {
    /// Whatever arrives and whenever we look: a link is only lost after a question, and `PROBE_TIMEOUT` of silence awake.
    #[test]
    fn no_link_is_lost_without_a_question_and_its_time(looks in prop::collection::vec((1u64..3000, any::<bool>()), 1..200)) {
        let mut now = start();
        let (mut prober, mut received, mut asked) = (Prober::new(now, heard(0)), 0, None);
        for (after, something) in looks {
            now += ms(after);
            received += u64::from(something);
            match prober.look(now, heard(received)) {
                Verdict::Ask => asked = Some(now),
                Verdict::Lost => prop_assert!(asked.is_some_and(|asked| now - asked >= PROBE_TIMEOUT) && !something),
                Verdict::Suspect => prop_assert!(asked.is_some_and(|asked| now - asked >= PROBE_SUSPECT)),
                Verdict::Fine => {}
            }
            prop_assert!(prober.next_look() <= now + LOOK);
        }
    }

    /// A dead path is left within 5 s of the last packet, wherever the looks fall.
    #[test]
    fn a_dead_path_is_left_within_five_seconds(offset in 0u64..250, node in any::<bool>()) {
        let last_packet = start();
        let made = last_packet - ms(250);
        let (mut prober, mut listener) = (Prober::new(made, heard(0)), Listener::new(made, heard(0)));
        let mut now = last_packet + ms(offset);
        loop {
            let verdict = if node { prober.look(now, heard(1)) } else { listener.look(now, heard(1)) };
            if verdict == Verdict::Lost {
                break;
            }
            now = if node { prober.next_look() } else { listener.next_look() };
        }
        prop_assert!(now - last_packet < Duration::from_secs(5));
    }
}
