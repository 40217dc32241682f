"""`hawse login` and renewal against the real control plane and a real exit node; only Kubernetes is played."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hawse_agent import credentials, jointoken
from hawse_api import spiffe
from hawse_operator.control import books, ca
from support import control
from support.clock import shifted_clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@dataclass
class Parts:
    """An operator, a ready exit node, a directory for the agent."""

    operator: control.Operator
    node: control.ExitNodeProcess
    config: Path

    def text(self, token: books.TokenRecord, secret: bytes | None = None) -> str:
        """What stands in the AgentToken's Secret."""
        roots = ca.roots_der(self.operator.authority)
        hashes = tuple(hashlib.sha256(der).digest() for der in roots)
        address = (self.node.agents_address,)
        name = f"connect.{control.DOMAIN}"
        return jointoken.encode(jointoken.JoinToken(name, address, hashes, token.id, secret or token.secret))


@dataclass
class Hawse:
    """A `hawse` process of the test."""

    process: asyncio.subprocess.Process
    out: str = ""
    err: str = ""

    async def ends(self, stdin: str = "", timeout_s: float = 40) -> int:
        """Exit code, once it has ended by itself."""
        async with asyncio.timeout(timeout_s):
            out, err = await self.process.communicate(stdin.encode())
        self.out, self.err = self.out + out.decode(), self.err + err.decode()
        assert "Traceback" not in self.err
        assert self.process.returncode is not None
        return self.process.returncode

    async def says(self, text: str, timeout_s: float = 30) -> None:
        """Until stderr has this text."""
        assert self.process.stderr is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while text not in self.err:
                    line = await self.process.stderr.readline()
                    assert line, self.err
                    self.err += line.decode()
        assert text in self.err


@contextlib.asynccontextmanager
async def hawse(config: Path, *arguments: str) -> AsyncIterator[Hawse]:
    """Start the CLI; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hawse_agent", *arguments, env={**os.environ, "HAWSE_CONFIG_DIR": str(config)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Hawse(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def login(parts: Parts, text: str) -> Hawse:
    """`hawse login -` to its end."""
    async with hawse(parts.config, "login", "-") as running:
        await running.ends(text)
        return running


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with control.operator() as operator:
        operator.publish_fleet()
        (tmp_path / "pod").mkdir()
        async with control.exit_node(operator, tmp_path / "pod") as node:
            yield Parts(operator, node, tmp_path / "hawse")


async def test_a_login_leads_to_a_served_page(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    done = await login(parts, parts.text(token))
    assert done.process.returncode == 0, done.err
    assert f"logged in to {control.DOMAIN} with the token team-a/laptop" in done.out
    async with control.app("it works") as (host, port), hawse(parts.config, "http", f"{host}:{port}") as agent:
        await agent.says("serving https://shop.")
        answer = await parts.node.visit(f"shop.{control.DOMAIN}")
    assert (answer.status_code, answer.text) == (200, "it works")


CASES = {
    "wrong secret": ({}, b"w" * 32, "HAWSE-3002"),
    "expired": ({"expires_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, None, "HAWSE-3004"),
    "used up": ({"once": True, "used_up": True}, None, "HAWSE-3005"),
    "too many agents": ({"max_agents": 1, "agents": frozenset({"another"})}, None, "HAWSE-3006"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_token_that_is_no_good_is_told_with_its_code(parts: Parts, case: str) -> None:
    changes, secret, code = CASES[case]
    token = parts.operator.add_token("laptop", **changes)
    done = await login(parts, parts.text(token, secret))
    assert done.process.returncode == 3, done.err
    assert code in done.err
    assert done.err.count("\n") <= 2
    assert not (parts.config / credentials.FILE).exists()


async def test_a_deleted_token_is_told(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    text = parts.text(token)
    parts.operator.delete_token(token)
    done = await login(parts, text)
    assert done.process.returncode == 3, done.err
    assert "HAWSE-3002" in done.err or "HAWSE-3003" in done.err


async def test_an_absent_operator_is_a_matter_of_the_network(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    text = parts.text(token)
    await parts.operator.stop()
    done = await login(parts, text)
    assert done.process.returncode == 4, done.err
    assert "HAWSE-3009" in done.err


async def test_the_same_machine_may_log_in_again_with_a_token_for_one_agent(parts: Parts) -> None:
    token = parts.operator.add_token("laptop", max_agents=1)
    for _ in range(2):
        done = await login(parts, parts.text(parts.operator.tokens.records[token.id]))
        assert done.process.returncode == 0, done.err


async def test_a_token_that_is_deleted_while_serving_ends_the_agent_within_five_seconds(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    await login(parts, parts.text(token))
    async with hawse(parts.config, "http", "3000") as agent:
        await agent.says("serving https://shop.")
        parts.operator.delete_token(token)
        assert await agent.ends(timeout_s=5) == 3
    assert "HAWSE-2003" in agent.err
    assert "laptop" in agent.err


async def aged(parts: Parts, token: books.TokenRecord) -> credentials.Credentials:
    """A login whose certificate is past its half life."""
    done = await login(parts, parts.text(token))
    assert done.process.returncode == 0, done.err
    saved = credentials.load(parts.config, lambda _: None)
    authority = parts.operator.authority
    who = spiffe.AgentId(control.DOMAIN, token.namespace, token.uid, saved.agent_id)
    then = dt.datetime.now(dt.UTC) - dt.timedelta(hours=20)
    leaf = ca.issue_agent(authority, saved.leaf.public_key(), who, then)
    old = dataclasses.replace(saved, chain=tuple(ca.chain_of(authority, leaf)))
    assert old.half_life < dt.datetime.now(dt.UTC) < old.expires
    credentials.save(parts.config, old, lambda _: None)
    return old


async def test_a_certificate_past_its_half_life_is_renewed_saved_and_good_for_the_next_start(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    old = await aged(parts, token)
    parts.operator.nodes.agent_addresses["127.255.0.9:7443"] = 443  # the fleet has grown meanwhile
    async with hawse(parts.config, "http", "3000") as agent:
        await agent.says("certificate renewed, valid until ")
    new = credentials.load(parts.config, lambda _: None)
    assert new.expires > old.expires
    assert new.key != old.key
    assert new.addresses == (parts.node.agents_address, "127.255.0.9:7443")
    async with hawse(parts.config, "http", "3000") as agent:
        await agent.says("serving https://shop.")


@pytest.mark.parametrize(("offset", "says"), [("+1h", "ahead of"), ("-1h", "behind")])
async def test_a_clock_that_is_an_hour_off_is_told_at_the_login(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, offset: str, says: str
) -> None:
    for name, value in shifted_clock(offset).items():
        monkeypatch.setenv(name, value)
    done = await login(parts, parts.text(parts.operator.add_token("laptop")))
    assert done.process.returncode == 3, done.err
    assert "HAWSE-3007" in done.err
    assert re.search(rf"your clock is (1 h|59 min \d+ s) {says}", done.err), "the login takes a second or two"
    assert not (parts.config / credentials.FILE).exists()


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
async def test_a_clock_that_is_an_hour_off_does_not_keep_a_certificate_from_its_renewal(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, offset: str
) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    old = await aged(parts, token)
    for name, value in shifted_clock(offset).items():
        monkeypatch.setenv(name, value)
    async with hawse(parts.config, "http", "3000") as agent:
        await agent.says("certificate renewed, valid until ")
    assert credentials.load(parts.config, lambda _: None).expires > old.expires


async def test_a_renewal_without_the_operator_is_told_and_the_tunnel_stays(parts: Parts) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    await aged(parts, token)
    await parts.operator.stop()
    async with control.app("still here") as (host, port), hawse(parts.config, "http", f"{host}:{port}") as agent:
        await agent.says("the certificate could not be renewed")
        assert "HAWSE-3009" in agent.err
        answer = await parts.node.visit(f"shop.{control.DOMAIN}")
        assert answer.text == "still here"
        assert agent.process.returncode is None


async def test_an_exit_node_that_appears_is_learned_when_another_goes(parts: Parts, tmp_path: Path) -> None:
    token = parts.operator.add_token("laptop")
    parts.operator.add_tunnel("shop", token)
    (tmp_path / "second").mkdir()
    (tmp_path / "third").mkdir()
    async with control.exit_node(parts.operator, tmp_path / "second", pod="eu-west-1-def") as second:
        await login(parts, parts.text(token))
        async with hawse(parts.config, "http", "3000") as agent:
            await agent.says(second.agents_address)
            await agent.says(parts.node.agents_address) if parts.node.agents_address not in agent.err else None
            async with control.exit_node(parts.operator, tmp_path / "third", pod="eu-west-1-ghi") as third:
                parts.operator.nodes.agent_addresses.pop(second.agents_address)
                await second.end()
                await agent.says(f"at {third.agents_address}", timeout_s=45)
    saved = json.loads((parts.config / credentials.FILE).read_text())
    assert set(saved["addresses"]) == {parts.node.agents_address, third.agents_address}
