use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    total: 6,
    per_address: 3,
};

fn address(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

/// Fills `most` places and lets these addresses wait, in this order; who waits is called by address and count.
fn waiting(most: usize, addresses: &[u8]) -> FairQueue<(u8, usize)> {
    let mut queue = FairQueue::new(
        most,
        Bounds {
            total: 100,
            per_address: 100,
        },
    );
    for _ in 0..most {
        assert_eq!(queue.enter(address(99), || unreachable!()), Entered::Running);
    }
    for (at, n) in addresses.iter().enumerate() {
        let before = addresses[..at].iter().filter(|other| *other == n).count();
        assert!(matches!(queue.enter(address(*n), || (*n, before)), Entered::Waiting(_)));
    }
    queue
}

#[test]
fn addresses_take_turns_and_each_is_served_in_its_order() {
    for (waits, served) in [
        (vec![1, 1, 1, 2], vec![(1, 0), (2, 0), (1, 1), (1, 2)]),
        (vec![1, 1, 2, 3, 2], vec![(1, 0), (2, 0), (3, 0), (1, 1), (2, 1)]),
        (vec![3, 1, 1], vec![(3, 0), (1, 0), (1, 1)]),
    ] {
        let mut queue = waiting(1, &waits);
        let got: Vec<_> = std::iter::from_fn(|| queue.leave()).collect();
        assert_eq!(got, served, "{waits:?}");
        assert_eq!(queue.queued(), 0);
    }
}

#[test]
fn a_turn_that_is_given_up_passes_to_the_next() {
    let mut queue = waiting(1, &[1, 2, 1]);
    assert!(queue.cancel(address(1), 1));
    assert!(!queue.cancel(address(1), 1), "only once");
    assert!(!queue.cancel(address(3), 1));
    assert!(queue.cancel(address(2), 2));
    assert_eq!((queue.leave(), queue.leave()), (Some((1, 1)), None));
}

#[test]
fn a_lower_bound_waits_until_enough_have_left_and_a_higher_one_lets_several_in() {
    let mut queue = waiting(3, &[1, 2, 3, 4]);
    queue.set_most(1);
    assert_eq!((queue.next(), queue.leave(), queue.leave()), (None, None, None));
    assert_eq!(queue.leave(), Some((1, 0)));
    queue.set_most(3);
    assert_eq!(
        (queue.next(), queue.next(), queue.next()),
        (Some((2, 0)), Some((3, 0)), None)
    );
    assert_eq!(queue.most(), 3);
}

#[derive(Debug, Clone)]
enum Op {
    Enter(u8),
    Leave,
    /// The nth of those that wait, in the order of their coming.
    Cancel(prop::sample::Index),
    Most(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (0_u8..4).prop_map(Op::Enter),
        3 => Just(Op::Leave),
        1 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        1 => (1_usize..4).prop_map(Op::Most),
    ];
    proptest::collection::vec(op, 1..120)
}

/// The same by the simplest means: a list in the order of coming, and when each address was last served.
#[derive(Debug)]
struct Model {
    most: usize,
    running: usize,
    waiting: Vec<(u64, u8)>,
    /// When an address was last served, or came to wait after it had nobody waiting.
    since: HashMap<u8, u64>,
    clock: u64,
}

impl Model {
    fn enter(&mut self, n: u8, number: Option<u64>) {
        self.clock += 1;
        match number {
            None => self.running += 1,
            Some(number) => {
                if !self.waiting.iter().any(|(_, other)| *other == n) {
                    self.since.insert(n, self.clock);
                }
                self.waiting.push((number, n));
            }
        }
    }

    fn expected(&self, n: u8) -> &'static str {
        let here = self.waiting.iter().filter(|(_, other)| *other == n).count();
        if self.running < self.most {
            "running"
        } else if self.waiting.len() >= BOUNDS.total || here >= BOUNDS.per_address {
            "full"
        } else {
            "waiting"
        }
    }

    /// Who is next: the oldest of the address that has waited longest for its turn.
    fn next(&mut self) -> Option<u64> {
        if self.running >= self.most {
            return None;
        }
        let turn = (self.waiting.iter()).map(|(_, n)| *n).min_by_key(|n| self.since[n])?;
        let at = self.waiting.iter().position(|(_, n)| *n == turn)?;
        self.clock += 1;
        self.since.insert(turn, self.clock);
        self.running += 1;
        Some(self.waiting.remove(at).0)
    }
}

proptest! {
    #[test]
    fn the_queue_does_what_the_model_does(ops in ops()) {
        let mut queue = FairQueue::new(2, BOUNDS);
        let mut model = Model { most: 2, running: 0, waiting: vec![], since: HashMap::new(), clock: 0 };
        let mut came = 0;
        for op in ops {
            match op {
                Op::Enter(n) => {
                    let expected = model.expected(n);
                    let number = came + 1;
                    match queue.enter(address(n), || number) {
                        Entered::Running => { prop_assert_eq!(expected, "running"); model.enter(n, None); }
                        Entered::Full => prop_assert_eq!(expected, "full"),
                        Entered::Waiting(given) => {
                            prop_assert_eq!((expected, given), ("waiting", number));
                            came = number;
                            model.enter(n, Some(number));
                        }
                    }
                }
                Op::Leave if model.running > 0 => {
                    model.running -= 1;
                    prop_assert_eq!(queue.leave(), model.next());
                }
                Op::Leave => {}
                Op::Cancel(which) => if !model.waiting.is_empty() {
                    let (number, n) = model.waiting.remove(which.index(model.waiting.len()));
                    prop_assert!(queue.cancel(address(n), number));
                }
                Op::Most(most) => {
                    model.most = most;
                    queue.set_most(most);
                    loop {
                        let next = queue.next();
                        prop_assert_eq!(next, model.next());
                        if next.is_none() { break; }
                    }
                }
            }
            prop_assert!(queue.queued == model.waiting.len() && queue.running == model.running);
            prop_assert!(queue.queued <= BOUNDS.total && queue.turns.len() == queue.waiting.len());
            prop_assert!(queue.queued == 0 || queue.running >= queue.most, "nobody waits beside a free place");
        }
    }
}
