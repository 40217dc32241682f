"""Edits of others are put back at once, then ever more rarely; peace makes it start again."""

from hawse_operator.policies.corrections import AT_ONCE, CAP_S, QUIET_S, Corrections, Go, Wait


def test_the_first_edits_are_put_back_at_once_and_then_there_is_a_pause() -> None:
    corrections: Corrections[str] = Corrections()
    assert [corrections.decide("child", now=0) for _ in range(AT_ONCE)] == [Go(is_war=False)] * AT_ONCE
    assert corrections.decide("child", now=0.25) == Wait(0.75)
    assert corrections.decide("child", now=1) == Go(is_war=True)


def test_pauses_double_up_to_a_minute_and_the_war_is_told_once() -> None:
    corrections: Corrections[str] = Corrections()
    now, pauses, wars = 0.0, [], 0
    for _ in range(AT_ONCE + 9):
        while isinstance(found := corrections.decide("child", now=now), Wait):
            pauses.append(found.seconds)
            now += found.seconds
        wars += found.is_war
    assert pauses == [1, 2, 4, 8, 16, 32, CAP_S, CAP_S, CAP_S]
    assert wars == 1


def test_another_child_does_not_wait() -> None:
    corrections: Corrections[str] = Corrections()
    for _ in range(AT_ONCE):
        corrections.decide("child", now=0)
    assert corrections.decide("other", now=0) == Go(is_war=False)


def test_after_a_time_of_quiet_an_edit_is_the_first_again() -> None:
    corrections: Corrections[str] = Corrections()
    for _ in range(AT_ONCE):
        corrections.decide("child", now=0)
    assert corrections.decide("child", now=QUIET_S + 1) == Go(is_war=False)
