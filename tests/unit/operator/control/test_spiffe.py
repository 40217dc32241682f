"""SPIFFE URIs: exactly two forms, and nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawse_api import spiffe

SEGMENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
DOMAIN = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?", fullmatch=True)


@given(DOMAIN, SEGMENT, SEGMENT)
def test_exit_nodes_read_back_as_they_were_written(domain: str, name: str, pod: str) -> None:
    who = spiffe.ExitNodeId(domain, name, pod)
    assert spiffe.parse_exit_node(str(who)) == who
    assert spiffe.parse_agent(str(who)) is None


@given(DOMAIN, SEGMENT, SEGMENT, SEGMENT)
def test_agents_read_back_as_they_were_written(domain: str, namespace: str, token: str, agent: str) -> None:
    who = spiffe.AgentId(domain, namespace, token, agent)
    assert spiffe.parse_agent(str(who)) == who
    assert spiffe.parse_exit_node(str(who)) is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_without_an_error(text: str) -> None:
    assert spiffe.parse_agent(text) is None
    assert spiffe.parse_exit_node(text) is None


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.com/exitnode/a",
        "spiffe://example.com/exitnode/a/b/c",
        "spiffe://example.com/exitnode/a/b\n",
        "spiffe://example.com/exitnode/../b",
        "spiffe://EXAMPLE.com/exitnode/a/b",
        "https://example.com/exitnode/a/b",
        "spiffe://example.com/exitnode/a/b?x=1",
    ],
)
def test_look_alikes_are_nobody(uri: str) -> None:
    assert spiffe.parse_exit_node(uri) is None
