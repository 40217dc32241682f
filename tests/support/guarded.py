"""A fleet on loopback whose tunnels let visitors sign in at a provider of the test.

    with guarded.serving(tmp_path, rules={"groups": ["staff"]}) as made:
        made.origin()

The policy and its secrets are written into the exit nodes' static files.
"""

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from google.protobuf import json_format

from hawse_agent.trial.fleet import TunnelSpec
from hawse_api import names
from hawse_api.ir import ir_pb2
from support import identity, loopback, oidc_provider
from support.oidc_provider import CLIENT_ID, Person

POLICY_UID = identity.POLICY_UID
MATERIAL = f"access/{POLICY_UID}/oidc"


@dataclass(slots=True)
class Guarded:
    """The fleet and what its policy says."""

    fleet: loopback.Loopback
    oidc: ir_pb2.Oidc
    rules: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def origin(self, tunnel: int = 0) -> str:
        """As its visitors write it."""
        spec, place = self.fleet.trial.tunnels[tunnel], self.fleet.nodes[0].place
        return f"https://{spec.host_label}.{self.fleet.trial.fleet.domain}:{place.https_port}"

    def write(self) -> None:
        """Guard every tunnel of every exit node, and tell those that run."""
        for node in self.fleet.nodes:
            file = json.loads(node.file.read_text())
            file["objects"] = [self._guard(one) for one in file["objects"] if "access" not in one]
            file["objects"].append(json_format.MessageToDict(self._policy()))
            file["secrets"] = [{"id": MATERIAL, "data": identity.SECRET}]
            for spec in self.fleet.trial.tunnels:
                file["secrets"].append({"id": f"session/{spec.uid}", "data": spec.uid.replace("-", "") * 2})
            node.file.write_text(json.dumps(file))
            if node.process.starts:
                node.process.signal(signal.SIGHUP)

    def _guard(self, obj: dict[str, Any]) -> dict[str, Any]:
        if tunnel := obj.get("tunnel"):
            tunnel["accessPolicyUids"] = [POLICY_UID]
            tunnel["requiredFeatures"] = [names.FEATURE_ACCESS]
        if fleet := obj.get("fleet"):
            fleet["allowedCidrs"] = ["127.0.0.0/8"]  # where the provider is
        return obj

    def _policy(self) -> ir_pb2.Object:
        policy = ir_pb2.AccessPolicy(
            uid=POLICY_UID,
            namespace="team-a",
            name="people",
            mode=ir_pb2.AccessPolicy.MODE_ANY,
            oidc=self.oidc,
        )
        for claim, values in self.rules.items():
            policy.authorization.rules.add(name=f"by-{claim}", claim=claim, any_of=values)
        return ir_pb2.Object(key=f"access/{POLICY_UID}", access=policy)


def client(*origins: str, **more: Any) -> dict[str, Any]:
    """Of the provider, for tunnels at these origins."""
    return {
        "client_id": CLIENT_ID,
        "client_secret": identity.SECRET,
        "redirect_uris": [f"{origin}/.hawse/callback" for origin in origins],
        "post_logout_redirect_uris": [f"{origin}/.hawse/logout" for origin in origins],
        "grant_types": ["authorization_code", "refresh_token"],
        **more,
    }


@contextlib.contextmanager
def serving(directory: Path, *, rules: Mapping[str, Sequence[str]], **settings: Any) -> Iterator[Guarded]:
    """An exit node with the tunnels `shop` (an agent serves it) and `blog` (nobody does), provider, app and agent."""
    with loopback.fleet(directory) as made:
        made.trial.tunnels = (TunnelSpec("shop"), TunnelSpec("blog"))
        made.add_exit_node(start=False)
        guarded = Guarded(made, ir_pb2.Oidc(), rules)
        clients = [client(guarded.origin(0), guarded.origin(1))]
        with oidc_provider.running(directory, clients, **settings) as provider:
            guarded.oidc = provider.oidc(material_id=MATERIAL)
            guarded.write()
            made.nodes[0].start()
            made.start_app()
            made.start_agent("http", made.app.target, "--tunnel", "shop")
            yield guarded


@contextlib.contextmanager
def visitor(guarded: Guarded, *, tunnel: int = 0, http2: bool = False) -> Iterator[httpx.Client]:
    """A browser's fields and a jar of cookies; it follows nothing by itself."""
    host = guarded.origin(tunnel).removeprefix("https://").partition(":")[0]
    with guarded.fleet.visitor(http2=http2, host=host) as http:
        http.headers["accept"] = "text/html,*/*;q=0.8"
        yield http


def sign_in(http: httpx.Client, person: Person, path: str = "/") -> httpx.Response:
    """From a page that needs it to that page."""
    begun = http.get(path)
    assert begun.status_code == 303, begun.text
    back = person.sign_in(http.get(begun.headers["location"]).headers["location"])
    done = http.get(_path(back))
    assert done.status_code == 303, done.text
    return http.get(_path(done.headers["location"]))


def _path(url: str) -> str:
    """The client reaches the exit node by address: of a URL it needs the path."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
