use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A task with how often it was woken, and a nudge that it polls.
fn task() -> (Arc<Task>, Waker) {
    let task = Arc::<Task>::default();
    (task.clone(), task.into())
}

#[test]
fn who_waits_is_woken_once_and_who_has_what_it_wants_is_not() {
    let (nudge, (task, waker)) = (Arc::<Nudge>::default(), task());
    let mut part = None;
    let mut cx = Context::from_waker(&waker);
    let polled = nudge.poll(&mut cx, |cx| {
        part = Some(cx.waker().clone());
        Poll::<()>::Pending
    });
    assert!(polled.is_pending());
    assert_eq!(task.0.load(Relaxed), 0);
    let part = part.unwrap();
    part.wake_by_ref();
    part.wake_by_ref();
    assert_eq!(task.0.load(Relaxed), 1);

    assert!(nudge.poll(&mut cx, |_| Poll::Ready(())).is_ready());
    part.wake_by_ref();
    assert_eq!(task.0.load(Relaxed), 1);
}

#[test]
fn a_part_that_is_woken_while_all_are_polled_is_polled_again_only_if_the_poll_came_to_nothing() {
    for (polled, woken) in [(Poll::Ready(()), 0), (Poll::Pending, 1)] {
        let (nudge, (task, waker)) = (Arc::<Nudge>::default(), task());
        let got = nudge.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            polled
        });
        assert_eq!((got, task.0.load(Relaxed)), (polled, woken));
    }
}

#[test]
fn the_last_who_waited_is_not_woken_for_the_next() {
    let (nudge, (last, last_waker), (next, next_waker)) = (Arc::<Nudge>::default(), task(), task());
    let pending = |_: &mut Context<'_>| Poll::<()>::Pending;
    assert!(nudge.poll(&mut Context::from_waker(&last_waker), pending).is_pending());
    assert!(nudge.poll(&mut Context::from_waker(&next_waker), pending).is_pending());
    nudge.wake_by_ref();
    assert_eq!((last.0.load(Relaxed), next.0.load(Relaxed)), (0, 1));
}
