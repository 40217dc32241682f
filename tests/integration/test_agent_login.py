"""`hawse login` over real QUIC, against a link server in this process that plays exit node and operator as told.

What a real operator answers is in the tests that have one; here are its answers one by one, and some that no honest one
gives.
"""

import asyncio
import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from hawse_agent import jointoken
from hawse_agent.jointoken import JoinToken
from hawse_agent.trial import fleet, pki, processes
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel.core import TunnelCore
from hawse_tunnel.events import FrameReceived

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

SECRET = b"s" * 32


@dataclass
class Node:
    """An exit node with an operator behind it."""

    fleet: fleet.TrialFleet
    address: str
    refuse: frames_pb2.Refused | None = None
    skew_s: int = 0
    silent: bool = False
    close_code: int = 0
    changes: dict[str, object] = field(default_factory=dict)
    requests: list[frames_pb2.EnrolRequest] = field(default_factory=list)

    @property
    def token(self) -> JoinToken:
        return JoinToken(
            self.fleet.connect_name,
            (self.address,),
            (hashlib.sha256(self.fleet.authority.der).digest(),),
            "tok",
            SECRET,
        )

    def answer(self, core: TunnelCore, event: FrameReceived) -> None:
        match event.frame.WhichOneof("frame"):
            case "enrol_hello" if self.close_code:
                core.close_link(event.link, self.close_code, "no room")
            case "enrol_hello" if not self.silent:
                now = int(dt.datetime.now(dt.UTC).timestamp()) - self.skew_s
                challenge = frames_pb2.EnrolChallenge(nonce=b"n" * 32, node_version="0.1.0", now=now)
                core.send(event.link, frames_pb2.Frame(enrol_challenge=challenge))
            case "enrol":
                self.requests.append(event.frame.enrol)
                core.send(event.link, frames_pb2.Frame(enrolled=self.decide(event.frame.enrol)))

    def decide(self, request: frames_pb2.EnrolRequest) -> frames_pb2.EnrolResponse:
        if self.refuse is not None:
            return frames_pb2.EnrolResponse(refused=self.refuse)
        assert hmac.compare_digest(request.proof, hmac.digest(SECRET, request.csr + b"n" * 32, "sha256"))
        csr = x509.load_der_x509_csr(request.csr)
        uri = f"spiffe://{self.fleet.domain}/ns/team-a/agenttoken/t1/agent/{request.agent_id}"
        signed = sign(self.fleet.authority, csr, uri)
        fields: dict[str, object] = {
            "chain": [signed],
            "roots": [self.fleet.authority.der],
            "domain": self.fleet.domain,
            "addresses": [self.address],
            "namespace": "team-a",
            "token_name": "laptop",
        }
        return frames_pb2.EnrolResponse(**{**fields, **self.changes})  # type: ignore[arg-type]


def sign(authority: pki.Authority, csr: x509.CertificateSigningRequest, uri: str) -> bytes:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=24))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(authority.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    made = fleet.make_fleet("tunnels.localhost", dt.datetime.now(dt.UTC).replace(microsecond=0))
    address = f"{processes.free_address((7443,))}:7443"
    uri = f"spiffe://{made.domain}/exitnode/n/p"
    leaf = made.authority.issue("n", now=made.made, uri=uri, dns=[made.connect_name])
    identity = core_pb2.Identity(chain=leaf.chain_der, key=leaf.key_der, roots=[made.authority.der])
    async with TunnelCore() as core:
        await core.serve_links(address, identity)
        running = Node(made, address)

        async def run() -> None:
            async for event in core.events():
                if isinstance(event, FrameReceived):
                    running.answer(core, event)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            yield running
            task.cancel()


async def login(directory: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    """Run `hawse login -` as a user does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hawse_agent", "login", *(arguments or ("-",)),
        env={**os.environ, "HAWSE_CONFIG_DIR": str(directory)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(text.encode())
    assert b"Traceback" not in err
    assert err.count(b"\n") <= 2
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_login_leaves_a_private_certificate_and_says_where(tmp_path: Path) -> None:
    async with node() as at:
        code, out, err = await login(tmp_path / "hawse", jointoken.encode(at.token) + "\n")
    assert (code, err) == (0, "")
    assert out.startswith("logged in to tunnels.localhost with the token team-a/laptop; certificate until ")
    file = tmp_path / "hawse" / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    saved = json.loads(file.read_text())
    assert (saved["connect_name"], saved["addresses"]) == ("connect.tunnels.localhost", [at.address])
    for one in file.parent.iterdir():
        assert not one.is_file() or SECRET.decode() not in one.read_text()


async def test_a_token_from_a_file_does_as_well_and_open_modes_are_told(tmp_path: Path) -> None:
    async with node() as at:
        file = tmp_path / "token"
        file.write_text(jointoken.encode(at.token))
        file.chmod(0o644)
        code, _, err = await login(tmp_path / "hawse", "", "--token-file", str(file))
    assert code == 0, err
    assert "corrected to 0600" in err


async def test_the_same_machine_keeps_its_id_over_logins(tmp_path: Path) -> None:
    async with node() as at:
        for _ in range(2):
            code, _, err = await login(tmp_path / "hawse", jointoken.encode(at.token))
            assert code == 0, err
        first, second = at.requests
    assert first.agent_id == second.agent_id
    assert first.csr != second.csr


async def test_a_dead_exit_node_among_the_addresses_costs_nothing(tmp_path: Path) -> None:
    async with node() as at:
        dead = f"{processes.free_address((7443,))}:7443"
        token = dataclasses.replace(at.token, addresses=(dead, at.address))
        began = asyncio.get_running_loop().time()
        code, _, err = await login(tmp_path / "hawse", jointoken.encode(token))
        assert code == 0, err
        assert asyncio.get_running_loop().time() - began < 6


REFUSALS = [
    ("HAWSE-3002", 3, "The token is not known or its secret is wrong."),
    ("HAWSE-3003", 3, "The token was deleted."),
    ("HAWSE-3004", 3, "the token expired 3 days ago. Issue a new one: kubectl annotate agenttoken laptop"),
    ("HAWSE-3005", 3, "The token was good for one agent and is used up."),
    ("HAWSE-3006", 3, "The token's maximum of agents is reached."),
    ("HAWSE-3008", 3, "Too many attempts to enrol."),
    ("HAWSE-3009", 4, "This exit node cannot reach its operator."),
]


@pytest.mark.parametrize(("code", "exit_code", "message"), REFUSALS, ids=[one[0] for one in REFUSALS])
async def test_a_refusal_is_told_in_the_operators_words(
    tmp_path: Path, code: str, exit_code: int, message: str
) -> None:
    async with node() as at:
        at.refuse = frames_pb2.Refused(code=code, message=message, final=code != "HAWSE-3009")
        ended, out, err = await login(tmp_path / "hawse", jointoken.encode(at.token))
    assert (ended, out) == (exit_code, "")
    assert code in err
    assert message.split(".")[0] in err
    assert not (tmp_path / "hawse" / "credentials.json").exists()


async def test_a_wrong_clock_is_told(tmp_path: Path) -> None:
    async with node() as at:
        at.skew_s = 11520
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(at.token))
    assert ended == 3
    assert err == "hawse: your clock is 3 h 12 min ahead of the exit node (HAWSE-3007). Set it and try again.\n"


async def test_an_exit_node_of_another_ca_is_not_asked(tmp_path: Path) -> None:
    async with node() as at:
        token = dataclasses.replace(at.token, ca_sha256=(b"\x00" * 32,))
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(token))
        assert at.requests == []
    assert ended == 3
    assert "HAWSE-2011" in err


async def test_an_exit_node_of_another_domain_is_not_asked(tmp_path: Path) -> None:
    async with node() as at:
        token = dataclasses.replace(at.token, connect_name="connect.other.example")
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(token))
        assert at.requests == []
    assert ended == 3
    assert "HAWSE-2011" in err


async def test_a_certificate_that_is_not_ours_is_not_kept(tmp_path: Path) -> None:
    async with node() as at:
        at.changes = {"chain": [at.fleet.authority.issue("x", now=at.fleet.made, dns=["x"]).chain_der[0]]}
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(at.token))
    assert ended == 3
    assert "HAWSE-2011" in err
    assert not (tmp_path / "hawse" / "credentials.json").exists()


async def test_a_node_that_closes_says_why(tmp_path: Path) -> None:
    async with node() as at:
        at.close_code = 3008
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(at.token))
    assert ended == 3
    assert "HAWSE-3008" in err


async def test_nobody_at_the_addresses_ends_it_with_each_of_them(tmp_path: Path) -> None:
    async with node() as at:
        dead = tuple(f"{processes.free_address((7443,))}:7443" for _ in range(2))
        token = dataclasses.replace(at.token, addresses=dead)
        ended, _, err = await login(tmp_path / "hawse", jointoken.encode(token))
    assert ended == 4
    assert "HAWSE-2001" in err
    assert all(address in err for address in dead)
