"""The identity service in this process, on its unix socket, for a tunnel whose configuration the test makes.

    async with identity.serving(tmp_path, oidc) as service:
        answer = await service.get("/.hawse/login?to=/reports")

`service` is a browser that has only our cookies and follows nothing by itself.
"""

import contextlib
import hashlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from hawse_api.ir import core_pb2, ir_pb2
from hawse_exitnode import pages
from hawse_identity import cookies, memory, server, sessions
from hawse_identity.provider_client import ProviderClient
from hawse_identity.service import Service

HOST = "shop.example.test"
ORIGIN = f"https://{HOST}:8443"
TUNNEL_UID = "4d1c3f02-0000-4000-8000-000000000001"
POLICY_UID = "4d1c3f02-0000-4000-8000-0000000000aa"
SECRET = "s e+c/r%t"
"""Of the client; characters that basic authentication has to encode."""


@dataclass(slots=True)
class Configuration:
    """What the exit node was told."""

    objects: dict[str, ir_pb2.Object]
    materials: dict[str, bytes]

    def find_object(self, key: str) -> ir_pb2.Object | None:
        return self.objects.get(key)

    def find_material(self, id: str) -> bytes | None:  # noqa: A002
        return self.materials.get(id)


def configuration(oidc: ir_pb2.Oidc, *, rules: Mapping[str, Sequence[str]] | None = None) -> Configuration:
    """One fleet, one tunnel, one policy."""
    fleet = ir_pb2.Fleet(name="default", domain="example.test", https_port=8443, allowed_cidrs=["127.0.0.0/8"])
    tunnel = ir_pb2.Tunnel(
        uid=TUNNEL_UID, namespace="team-a", name="shop", hostname=HOST, access_policy_uids=[POLICY_UID]
    )
    policy = ir_pb2.AccessPolicy(uid=POLICY_UID, namespace="team-a", name="people", oidc=oidc)
    for claim, values in (rules or {}).items():
        policy.authorization.rules.add(name=f"by-{claim}", claim=claim, any_of=values)
    objects = [
        ir_pb2.Object(key="fleet", fleet=fleet),
        ir_pb2.Object(key=f"tunnel/{TUNNEL_UID}", tunnel=tunnel),
        ir_pb2.Object(key=f"access/{POLICY_UID}", access=policy),
    ]
    materials = {
        f"session/{TUNNEL_UID}": hashlib.sha512(HOST.encode()).digest(),
        f"access/{POLICY_UID}/oidc": SECRET.encode(),
    }
    return Configuration({one.key: one for one in objects}, materials)


@dataclass(slots=True)
class Clock:
    """Wall clock of the service: the real one, moved by the test."""

    ahead_s: float = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s


@dataclass(slots=True)
class Browser:
    """Asks the service as the edge does, keeping our cookies."""

    http: httpx.AsyncClient
    service: Service
    configuration: Configuration
    clock: Clock
    cookies: dict[str, str] = field(default_factory=dict)
    ended: list[Mapping[str, int]] = field(default_factory=list)
    tunnel_uid: str = TUNNEL_UID

    async def get(self, url: str) -> httpx.Response:
        return await self._ask("GET", url)

    async def refresh(self) -> httpx.Response:
        return await self._ask("POST", "/internal/refresh")

    async def notify(self, logout_token: str) -> httpx.Response:
        """What a provider sends."""
        return await self.http.post(
            "/.hawse/backchannel-logout",
            data={"logout_token": logout_token},
            headers={server.TUNNEL: self.tunnel_uid, "Host": f"{HOST}:8443"},
        )

    @property
    def session(self) -> core_pb2.Session | None:
        """What the edge would read now."""
        keys = sessions.split_keys(self.configuration.materials[f"session/{self.tunnel_uid}"])
        assert keys is not None
        return sessions.decode(self.cookies.get(cookies.SESSION, ""), keys)

    async def begin(self, to: str = "/") -> dict[str, str]:
        """Start a sign-in: the query with which the provider is asked."""
        answer = await self.get(f"/.hawse/login?to={to}")
        assert answer.status_code == 303, answer.text
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}

    async def _ask(self, method: str, url: str) -> httpx.Response:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        field_ = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {server.TUNNEL: self.tunnel_uid, "Host": f"{HOST}:8443", "X-Hawse-Request-Id": "r-1"}
        answer = await self.http.request(method, path, headers=headers | ({"Cookie": field_} if field_ else {}))
        for given in answer.headers.get_list("set-cookie"):
            self._keep(given)
        return answer

    def _keep(self, given: str) -> None:
        """As browsers do with the prefix __Host- (RFC 6265bis, 4.1.3.2)."""
        matched = re.fullmatch(
            r"(__Host-[^=]+)=([^;]*); Path=/; Max-Age=([0-9]+); Secure; HttpOnly; SameSite=Lax", given
        )
        assert matched, given
        assert len(given) <= 4096
        name, value, max_age = matched.groups()
        if int(max_age):
            self.cookies[name] = value
        else:
            self.cookies.pop(name, None)


@contextlib.asynccontextmanager
async def serving(
    directory: Path, oidc: ir_pb2.Oidc, *, rules: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[Browser]:
    """The service behind its socket, with a browser."""
    told = configuration(oidc, rules=rules)
    clock = Clock()
    ended: list[Mapping[str, int]] = []
    rendered = server.Pages(pages.render_pages(), pages.render_signed_out())
    socket = directory / "identity.sock"
    async with ProviderClient(lambda: told.objects["fleet"].fleet.allowed_cidrs) as client:
        service = Service(client, ended=memory.Ended(), outcomes=Counter(), on_ended=ended.append, wall_clock=clock.now)
        async with (
            server.serve(socket, service, told, rendered),
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://identity", timeout=30
            ) as http,
        ):
            yield Browser(http, service, told, clock, ended=ended)
