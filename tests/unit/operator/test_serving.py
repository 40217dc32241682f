"""What exit nodes are told: nothing is served under a name that is not held."""

import itertools
from typing import Any

import pytest

from hawse_api import names
from hawse_operator.policies.serving import Serving, decide_serving, keeps_last_good, named
from hawse_operator.policies.violations import Violation

BAD = (Violation(names.Reason.INVALID, "no"),)


@pytest.mark.parametrize(
    ("holds", "suspended", "not_accepted", "not_resolved", "expected"),
    [
        (True, False, (), (), Serving.OPEN),
        (True, True, (), (), Serving.SUSPENDED),
        (True, False, BAD, (), Serving.CLOSED),
        (True, False, (), BAD, Serving.CLOSED),
        (True, True, BAD, (), Serving.CLOSED),
    ],
)
def test_a_held_name_is_open_closed_or_suspended(
    holds: bool,
    suspended: bool,
    not_accepted: tuple[Violation, ...],
    not_resolved: tuple[Violation, ...],
    expected: Serving,
) -> None:
    found = decide_serving(
        holds_name=holds, is_suspended=suspended, not_accepted=not_accepted, not_resolved=not_resolved
    )
    assert found is expected


@pytest.mark.parametrize(
    ("suspended", "not_accepted", "not_resolved"), [*itertools.product([True, False], [(), BAD], [(), BAD])]
)
def test_a_name_that_is_not_held_is_never_served(
    suspended: bool, not_accepted: tuple[Violation, ...], not_resolved: tuple[Violation, ...]
) -> None:
    found = decide_serving(
        holds_name=False, is_suspended=suspended, not_accepted=not_accepted, not_resolved=not_resolved
    )
    assert found is Serving.ABSENT


AGENT = {"target": {"type": "Agent", "agent": {"tokenRef": {"name": "a"}}}}
URL = {"target": {"type": "URL", "url": "https://a.example"}}
STAFF = {"access": {"policyRef": {"name": "staff"}}}


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (AGENT, AGENT, True),
        (AGENT, {**AGENT, "suspend": "perhaps"}, True),
        (AGENT, {"target": {"type": "Agent", "agent": {"tokenRef": {"name": "b"}}}}, False),
        (AGENT, URL, False),
        (AGENT, {}, False),
        (AGENT, {"target": {"type": "Agent", "agent": "a"}}, False),
        (URL, {"target": {"type": "URL", "url": "https://a.example/typo"}}, True),
        (URL, AGENT, False),
        (None, AGENT, False),
        (AGENT, {**AGENT, "access": {"policyRef": {"name": "staff"}}}, False),
        (AGENT, {**AGENT, "access": "staff"}, False),
        (AGENT | STAFF, AGENT | STAFF, True),
        (AGENT | STAFF, AGENT, False),
        (AGENT | STAFF, AGENT | {"access": {"policyRef": {"name": "all"}}}, False),
        (AGENT | STAFF, AGENT | {"access": {"policyRef": {"name": "staff", "namespace": "b"}}}, False),
        (AGENT | STAFF, AGENT | {"access": {}}, False),
    ],
)
def test_an_unreadable_spec_keeps_the_last_good_form_only_with_the_same_tokens_and_policy(
    last: Any, now: Any, expected: bool
) -> None:
    assert keeps_last_good(named(last) if last else None, named(now)) is expected
