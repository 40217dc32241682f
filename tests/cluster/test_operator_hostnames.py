"""Names of tenants' own domains and generated ones at a real API server, proved by a real name server."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from hawse_operator.control.edge_certificate import new_edge_certificate
from support import powerdns
from support.operator import FLEET, Api, cluster_with_crds, namespace, running, token, tunnel, wait_for

pytestmark = pytest.mark.timeout(180)
DOMAIN = "tunnels.example.com"
ZONE = "example.org"


@dataclass(frozen=True)
class Scene:
    api: Api
    dns: powerdns.PowerDns

    def own(self, label: str, where: str = "team-a", **spec: Any) -> str:
        """A Tunnel for `<label>.example.org`; returns the host name."""
        hostname = f"{label}.{ZONE}"
        self.api.apply(tunnel(label, where, host={"type": "Hostname", "hostname": hostname}, **spec))
        return hostname

    def status(self, name: str, where: str = "team-a") -> dict[str, Any]:
        found = self.api.get("tunnel", name, where)
        assert found is not None
        status: dict[str, Any] = found.get("status") or {}
        return status

    def challenge(self, name: str, where: str = "team-a") -> dict[str, str]:
        found: dict[str, str] = wait_for(
            "the challenge is told", lambda: self.status(name, where).get("hostVerification")
        )
        return found

    def publish(self, challenge: dict[str, str]) -> None:
        self.dns.put(ZONE, challenge["record"], "TXT", f'"{challenge["value"]}"')


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("hostnames")
    with powerdns.running(directory / "dns") as dns, cluster_with_crds(directory / "cluster") as cluster:
        zone = {"name": f"{ZONE}.", "kind": "Native", "nameservers": [f"ns.{ZONE}."]}
        assert dns.api("POST", "/zones", zone).status_code == 201
        with running(cluster, HAWSE_RESOLVERS=f"{dns.address}:{dns.port}", HAWSE_SECRET_POLL_SECONDS="1"):
            api = Api(cluster)
            quotas = {"tunnelsPerNamespace": 3, "reservationsPerNamespace": 4}
            api.apply({**FLEET, "spec": FLEET["spec"] | {"quotas": quotas}})  # type: ignore[operator]  # it is a dict
            for name in ("team-a", "team-b", "team-q"):
                api.apply(namespace(name), token("laptop", name))
            yield Scene(api, dns)


def test_a_name_is_served_once_its_record_is_seen(scene: Scene) -> None:
    hostname = scene.own("proved")
    challenge = scene.challenge("proved")
    refused = scene.api.wait_reason("tunnel", "proved", "Accepted", "HostnameNotVerified", "team-a")
    assert f'{challenge["record"]} TXT "{challenge["value"]}"' in refused["message"]
    assert scene.api.get("sdr", hostname) is None, "an unproved name is claimed by nobody"
    scene.publish(challenge)
    wait_for("the name is claimed", lambda: scene.api.get("sdr", hostname), timeout_s=40.0)
    scene.api.wait_reason("tunnel", "proved", "Accepted", "Accepted", "team-a")
    found = scene.api.get("sdr", hostname)
    assert found is not None
    assert found["spec"]["verification"]["verifiedAt"]
    assert scene.status("proved")["url"] == f"https://{hostname}/"


def test_anothers_record_and_anothers_cname_prove_nothing(scene: Scene) -> None:
    scene.own("wanted")
    scene.own("wanted", "team-b")
    mine, theirs = scene.challenge("wanted"), scene.challenge("wanted", "team-b")
    assert mine["record"] == theirs["record"]
    assert mine["value"] != theirs["value"]
    scene.dns.put(ZONE, f"wanted.{ZONE}", "CNAME", theirs["target"] + ".")
    scene.publish(mine)

    def says() -> str:
        return str(scene.api.condition("tunnel", "wanted", "Accepted", "team-a").get("message"))

    wait_for("the leftover is named", lambda: theirs["target"] in says(), timeout_s=40.0)
    assert f"Let it lead to {mine['target']}." in says()
    scene.dns.put(ZONE, f"wanted.{ZONE}", "CNAME", mine["target"] + ".")
    scene.api.wait_reason("tunnel", "wanted", "Reserved", "Reserved", "team-a", timeout_s=40.0)
    scene.api.wait_reason("tunnel", "wanted", "Accepted", "HostnameNotVerified", "team-b")


def test_a_name_in_a_fleets_domain_is_refused(scene: Scene) -> None:
    scene.api.apply(tunnel("inside", "team-a", host={"type": "Hostname", "hostname": f"inside.{DOMAIN}"}))
    scene.api.wait_reason("tunnel", "inside", "Accepted", "HostnameInFleet", "team-a")


def tls_secret(name: str, where: str, hostname: str) -> dict[str, Any]:
    made = new_edge_certificate(hostname, datetime.now(UTC))
    data = {"tls.crt": base64.b64encode(made.chain_pem).decode(), "tls.key": base64.b64encode(made.key_pem).decode()}
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}


def test_its_certificate_has_to_name_it(scene: Scene) -> None:
    hostname = scene.own("secure", tls={"certificateRef": {"name": "secure-tls"}})
    scene.publish(scene.challenge("secure"))
    missing = scene.api.wait_reason("tunnel", "secure", "CertificateReady", "CertificateNotFound", "team-a")
    assert missing["message"].startswith('Secret "secure-tls" does not exist in namespace team-a.')
    scene.api.apply(tls_secret("secure-tls", "team-a", f"other.{ZONE}"))
    wait_for(
        "the other name is told",
        lambda: (
            f"does not name {hostname}"
            in scene.api.condition("tunnel", "secure", "CertificateReady", "team-a")["message"]
        ),
    )
    scene.api.apply(tls_secret("secure-tls", "team-a", hostname))
    scene.api.wait_reason("tunnel", "secure", "CertificateReady", "Issued", "team-a")


def test_a_generated_name_comes_back_with_its_tunnel(scene: Scene) -> None:
    body = tunnel("gen", "team-b", host={"type": "Generated"})
    scene.api.apply(body)
    scene.api.wait_reason("tunnel", "gen", "Reserved", "Reserved", "team-b")
    hostname = scene.status("gen", "team-b")["hostname"]
    assert hostname.startswith("gen-")
    assert hostname.endswith(f".{DOMAIN}")
    scene.api.delete("tunnel", "gen", "team-b")
    wait_for("it is released", lambda: "releasedAt" in (scene.api.get("sdr", hostname) or {"spec": {}})["spec"])
    scene.api.apply(body)
    scene.api.wait_reason("tunnel", "gen", "Reserved", "Reserved", "team-b")
    assert scene.status("gen", "team-b")["hostname"] == hostname
    found = scene.api.get("sdr", hostname)
    assert found is not None
    assert found["spec"]["holderGeneration"] == 1


def test_a_namespace_gets_as_many_names_as_the_fleet_allows(scene: Scene) -> None:
    names = [f"q{number}" for number in range(6)]
    scene.api.apply(*(tunnel(name, "team-q") for name in names))

    def reasons() -> dict[str, str]:
        return {name: scene.api.condition("tunnel", name, "Reserved", "team-q").get("reason", "") for name in names}

    wait_for("all were judged", lambda: all(reasons().values()))
    found = reasons()
    assert sorted(found.values()) == ["QuotaExceeded"] * 3 + ["Reserved"] * 3, json.dumps(found)
    held = next(name for name in names if found[name] == "Reserved")
    scene.api.delete("tunnel", held, "team-q")
    names.remove(held)
    # Its tombstone is one of the four that may be kept: one more name fits, and then none.
    wait_for("one more fits", lambda: list(reasons().values()).count("Reserved") == 3, timeout_s=40.0)
    (held, *_) = (name for name, reason in reasons().items() if reason == "Reserved")
    scene.api.delete("tunnel", held, "team-q")
    names.remove(held)
    (refused, *_) = (name for name, reason in reasons().items() if reason == "QuotaExceeded")
    wait_for(
        "the other quota is named",
        lambda: "reservationsPerNamespace" in scene.api.condition("tunnel", refused, "Reserved", "team-q")["message"],
        timeout_s=40.0,
    )
