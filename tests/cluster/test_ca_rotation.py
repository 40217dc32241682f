"""The internal CA is replaced under a running tunnel: nobody loses a link, and in the end the old one is nowhere.

Certificates live 30 s here instead of a day, and so does each step; everything else is the product as installed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from hawse_agent import jointoken
from hawse_api import names
from hawse_operator.control import rotation
from hawse_operator.manifests import secrets
from support import whole
from support.operator import SYSTEM, Api, wait_for

pytestmark = [pytest.mark.timeout(420), pytest.mark.slow]
LIFETIME_S = 30
STEP_S = 120.0
"""A step lasts LIFETIME_S; the rest is for busy machines."""


def roots_in(pem: bytes) -> list[int]:
    return [one.serial_number for one in x509.load_pem_x509_certificates(pem)]


def secret(api: Api) -> dict[str, bytes]:
    return secrets.read_all(api.get("secret", names.CA_SECRET, SYSTEM) or {})


def published(api: Api) -> list[int]:
    found: dict[str, Any] = api.get("configmap", names.CA_CONFIG_MAP, SYSTEM) or {}
    return roots_in(found["data"]["ca.crt"].encode())


def token_of(api: Api) -> jointoken.JoinToken:
    return jointoken.parse(whole.text_of_token(api))


def trusted_by_agent(laptop: whole.Laptop) -> list[int]:
    return roots_in(json.loads((laptop.config / "credentials.json").read_text())["roots_pem"].encode())


def test_the_ca_is_rotated_under_a_running_tunnel(tmp_path: Path) -> None:
    settings = {"HAWSE_CERTIFICATE_SECONDS": str(LIFETIME_S), "HAWSE_SECRET_POLL_SECONDS": "2"}
    with (
        whole.installed(tmp_path / "cluster", regions={"eu-1": "eu-west"}, environment=settings) as api,
        whole.laptop(tmp_path, api) as laptop,
    ):
        (pod,) = whole.pods_of(api, "eu-1")
        before = wait_for("the link is known", lambda: whole.links(api))
        (old,) = roots_in(secret(api)[rotation.CRT])
        with whole.Visitor(pod["status"]["podIP"]) as visitor:
            rotate(api, laptop, old)
            wait_for(
                "the agent has renewed over the link that it had",
                lambda: old not in trusted_by_agent(laptop),
                timeout_s=60.0,
            )
        assert visitor.failures == []
        assert visitor.count > LIFETIME_S
        assert whole.links(api) == before, "the link was not kept"
        assert laptop.is_running()
        begin_anew_under_the_new_one(api, laptop, pod)


def rotate(api: Api, laptop: whole.Laptop, old: int) -> None:
    """Ask for it, and look at each step."""
    api.cluster.kubectl("annotate", "secret", names.CA_SECRET, "-n", SYSTEM, f"{names.ANNOTATION_ROTATE}=now")
    first = wait_for("another one is trusted", lambda: roots if len(roots := published(api)) == 2 else None)
    assert first[0] == old, "the old one signs until everybody knows the new one"
    new = first[1]
    wait_for("texts of tokens name both", lambda: len(token_of(api).ca_sha256) == 2)
    wait_for("the agent knows both", lambda: trusted_by_agent(laptop) == [old, new], timeout_s=STEP_S)
    wait_for("the new one signs", lambda: published(api) == [new, old], timeout_s=STEP_S)
    assert rotation.NEXT_KEY not in secret(api)
    wait_for("the old one is gone", lambda: published(api) == [new], timeout_s=STEP_S)
    assert roots_in(secret(api)[rotation.CRT]) == [new]
    wait_for("texts of tokens name the new one", lambda: len(token_of(api).ca_sha256) == 1)


def begin_anew_under_the_new_one(api: Api, laptop: whole.Laptop, old_pod: dict[str, Any]) -> None:
    """Whatever starts from nothing now: an exit node's pod, a login."""
    laptop.stop()
    api.delete("pod", old_pod["metadata"]["name"], SYSTEM)

    def is_replaced() -> bool:
        pods = whole.pods_of(api, "eu-1")
        others = [pod["metadata"]["name"] for pod in pods] != [old_pod["metadata"]["name"]]
        return others and len(pods) == 1 and whole.is_true(api, "exitnode", "eu-1", "Ready")

    wait_for("a new pod is ready", is_replaced, timeout_s=90.0)
    address = whole.pods_of(api, "eu-1")[0]["status"]["podIP"]
    wait_for("the text names its address", lambda: f"{address}:{names.PORT_AGENTS}" in token_of(api).addresses)
    laptop.login()
    laptop.serve()
    wait_for("it is served", lambda: whole.visit(address) == whole.WORKS)
