"""AgentTokens: issued, expired, used up, issued anew."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hawse_api import v1alpha1
from hawse_operator.policies import tokens
from hawse_operator.policies.tokens import Issued, SecretAction
from support.objects import NOW, token

SECRET = Issued(is_ours=True, secret=b"s" * 32, issued_at=NOW, reissue="")
ONCE: dict[str, Any] = {"uses": "Once"}
ASKED = {"annotations": {"hawse.dev/reissue": "1"}}


def decide(
    given: v1alpha1.AgentToken, issued: Issued | None, *, later_s: float = 0, has_fleet: bool = True
) -> tokens.TokenState:
    return tokens.decide_token(given, issued, has_fleet=has_fleet, now=NOW + timedelta(seconds=later_s))


@pytest.mark.parametrize(
    ("given", "issued", "expected"),
    [
        pytest.param(token(), None, SecretAction.NEW, id="there is no Secret"),
        pytest.param(token(), SECRET, SecretAction.KEEP, id="there is one"),
        pytest.param(token(), replace(SECRET, secret=b""), SecretAction.NEW, id="its text cannot be read"),
        pytest.param(token(), replace(SECRET, is_ours=False), SecretAction.NOTHING, id="it is somebody else's"),
        pytest.param(token(**ASKED), SECRET, SecretAction.NEW, id="a new one was asked for"),
        pytest.param(token(**ASKED), replace(SECRET, reissue="1"), SecretAction.KEEP, id="and was made"),
        pytest.param(token(spec=ONCE), SECRET, SecretAction.KEEP, id="good for one agent, which has not come"),
        pytest.param(token(spec=ONCE, status={"agentIDs": ["a"]}), SECRET, SecretAction.DELETE, id="which has come"),
        pytest.param(
            token(spec=ONCE, status={"agentIDs": ["a"]}), None, SecretAction.NOTHING, id="and the Secret is gone"
        ),
        pytest.param(
            token(spec=ONCE, status={"agentIDs": ["a"]}, **ASKED),
            None,
            SecretAction.NEW,
            id="used up and asked for anew",
        ),
        pytest.param(
            token(spec=ONCE, status={"agentIDs": ["a"], "reissue": "1"}, **ASKED),
            replace(SECRET, reissue="1"),
            SecretAction.DELETE,
            id="used up again",
        ),
        pytest.param(
            token(status={"agentIDs": ["a"]}), SECRET, SecretAction.KEEP, id="an unlimited one is never used up"
        ),
    ],
)
def test_what_happens_to_the_secret(given: v1alpha1.AgentToken, issued: Issued | None, expected: SecretAction) -> None:
    assert decide(given, issued).action is expected


def test_no_secret_is_made_before_it_is_clear_where_it_leads() -> None:
    state = decide(token(), None, has_fleet=False)
    assert (state.action, state.lacks_fleet, state.issued_at) == (SecretAction.NOTHING, True, None)
    assert decide(token(), SECRET, has_fleet=False).action is SecretAction.KEEP
    assert tokens.judge_issued(token(), state, secret_name="laptop-token").reason == "FleetNotFound"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(token(spec=ONCE, status={"agentIDs": ["a"]}, **ASKED), True, id="a used-up token asked for anew"),
        pytest.param(token(status={"agentIDs": ["a"]}, **ASKED), False, id="an unlimited token keeps its agents"),
        pytest.param(token(spec=ONCE, **ASKED), False, id="there is nobody to forget"),
        pytest.param(token(spec=ONCE, status={"agentIDs": ["a"], "reissue": "1"}, **ASKED), False, id="it was done"),
    ],
)
def test_only_a_once_token_forgets_its_agent_when_it_is_issued_anew(given: v1alpha1.AgentToken, expected: bool) -> None:
    assert tokens.resets_agents(given) is expected


@pytest.mark.parametrize(
    ("expiry", "end"),
    [
        ({"type": "TTL", "ttl": "24h"}, NOW + timedelta(hours=24)),
        ({"type": "Time", "time": "2026-03-02T00:00:00Z"}, NOW + timedelta(hours=12)),
        ({"type": "Never"}, None),
    ],
)
def test_a_token_expires_as_its_spec_says(expiry: dict[str, str], end: Any) -> None:
    given = token(spec={"expiry": expiry})
    state = decide(given, SECRET)
    assert (state.expires_at, state.is_expired) == (end, False)
    if end is not None:
        after = decide(given, SECRET, later_s=86_400)
        assert after.is_expired
        assert after.action is SecretAction.KEEP


def issued(given: v1alpha1.AgentToken, state: tokens.TokenState) -> v1alpha1.Judgement:
    return tokens.judge_issued(given, state, secret_name="laptop-token")


def test_an_expired_token_says_how_to_get_a_new_one() -> None:
    found = issued(token(), decide(token(), SECRET, later_s=90_000))
    assert found.reason == "Expired"
    assert found.message == (
        "The token expired on 2026-03-02 12:00 UTC. Issue a new one: kubectl annotate agenttoken laptop "
        "hawse.dev/reissue=$(date +%s) --overwrite -n team-a"
    )


def test_a_used_up_token_says_how_to_get_a_new_one() -> None:
    given = token(spec=ONCE, status={"agentIDs": ["a"]})
    found = issued(given, decide(given, SECRET))
    assert found.reason == "UsedUp"
    assert "hawse.dev/reissue" in found.message


def test_a_foreign_secret_is_named() -> None:
    found = issued(token(), decide(token(), replace(SECRET, is_ours=False)))
    assert found.reason == "SecretInUse"
    assert 'Secret "laptop-token" exists in namespace team-a' in found.message


@pytest.mark.parametrize(
    ("fleet", "has_addresses", "reason"),
    [("default", True, "Ready"), ("default", False, "NoExitNode"), (None, True, "FleetNotFound")],
)
def test_a_token_is_ready_when_agents_can_use_it(fleet: str | None, has_addresses: bool, reason: str) -> None:
    good = issued(token(), decide(token(), SECRET))
    assert good.status == "True"
    assert tokens.judge_token_ready(good, fleet=fleet, has_addresses=has_addresses).reason == reason


def test_a_token_that_is_not_issued_is_not_ready() -> None:
    bad = issued(token(), decide(token(), SECRET, later_s=90_000))
    assert tokens.judge_token_ready(bad, fleet="default", has_addresses=True).reason == "Expired"


def test_a_secret_is_not_shown() -> None:
    assert "s" * 32 not in repr(SECRET)
