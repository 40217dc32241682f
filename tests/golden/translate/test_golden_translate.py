"""Resources in, IR out, as its JSON. HAWSE_REGEN=1 rewrites the second; review it like code.

A case is a Fleet, an AgentToken, Tunnels that hold their names, AccessPolicies and Pods of its exit nodes, if there
are some; `holderGeneration`, `provider` (of `oidc`), `serving` (OPEN, CLOSED, SUSPENDED), `lacksPolicy` and `broken`
stand for what the policies decided.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator.policies import facts, hosts, ports
from hawse_operator.policies.serving import Serving
from hawse_operator.reconcile.peers import list_peers
from hawse_operator.translate import access, agent_tokens, fleets, targets, tunnels

HERE = Path(__file__).parent
KEY_SETS = {"https://issuer.example": '{"keys":[]}'}
CASES = sorted(HERE.glob("*.in.yaml"))


def translate(case: dict[str, Any]) -> list[ir_pb2.Object]:
    fleet = v1alpha1.Fleet.from_object(case["fleet"])
    token = v1alpha1.AgentToken.from_object(case["token"])
    result = [fleets.translate_fleet(fleet), agent_tokens.translate_agent_token(token)]
    policies = {body["metadata"]["name"]: v1alpha1.AccessPolicy.from_object(body) for body in case.get("policies", ())}
    result += [
        access.translate_policy(policy, key_sets=KEY_SETS, broken=case.get("broken", ""), oidc=oidc_of(policy, case))
        for policy in policies.values()
    ]
    for body in case["tunnels"]:
        tunnel = v1alpha1.Tunnel.from_object(body)
        hostname, generation = hosts.hostname_of(tunnel, fleet.spec.domain), case.get("holderGeneration", 1)
        if tunnel.spec.is_tcp:
            hostname = ports.hostname_of(tunnel.spec.port or 20_000, fleet.spec.domain)
        serving = Serving[case.get("serving", "OPEN")]
        if serving is Serving.OPEN:
            is_tcp = tunnel.spec.is_tcp
            target = target_of(tunnel.spec.target, token.uid, is_tcp=is_tcp)
            spare = tunnel.spec.standby
            standby = target_of(spare.target, "t-2", is_tcp=is_tcp) if spare else None
            result.append(
                tunnels.translate_tunnel(
                    tunnel,
                    hostname=hostname,
                    target=target,
                    standby=standby,
                    generation=generation,
                    access=[policies[tunnel.spec.access.policy_ref.name].uid] if tunnel.spec.access else (),
                )
            )
        else:
            suspended = serving is Serving.SUSPENDED
            result.append(
                tunnels.translate_closed_tunnel(
                    tunnel,
                    hostname=hostname,
                    generation=generation,
                    is_suspended=suspended,
                    lacks_policy=case.get("lacksPolicy", False),
                )
            )
    result += list_peers(map(facts.read_pod, case.get("pods", ())), fleet.spec.domain)
    return result


def oidc_of(policy: v1alpha1.AccessPolicy, case: dict[str, Any]) -> ir_pb2.Oidc | None:
    """With the provider as it was discovered."""
    if policy.spec.oidc is None:
        return None
    provider = v1alpha1.ProviderStatus.model_validate(case["provider"], by_alias=True, by_name=False)
    method = provider.auth_methods[0]
    return access.translate_provider(policy, policy.spec.oidc, provider, keys=b'{"keys":[]}', auth_method=method)


def target_of(target: v1alpha1.Target, token_uid: str, *, is_tcp: bool = False) -> targets.Target:
    """As reconcile.targets does; a Service is called like its namespace has it, at two addresses."""
    if target.url:
        return targets.url_target(target.url)
    if target.service:
        addresses = ["10.96.0.7", "fd00::7"]
        return targets.service_target(target.service.name, "team-a", addresses=addresses, port=8080, is_tcp=is_tcp)
    return targets.agent_target(token_uid)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_resources_become_ir(case: Path) -> None:
    result = [json_format.MessageToDict(obj) for obj in translate(yaml.safe_load(case.read_text()))]
    golden = case.with_name(case.name.replace(".in.", ".out."))
    if os.environ.get("HAWSE_REGEN"):
        golden.write_text(yaml.safe_dump(result))
    assert result == yaml.safe_load(golden.read_text())


def test_an_unreadable_tunnel_is_closed_under_the_name_that_it_holds() -> None:
    case = yaml.safe_load((HERE / "an_open_tunnel.in.yaml").read_text())
    served = translate(case)[-1]
    closed = tunnels.close(served).tunnel
    assert (closed.hostname, closed.holder_generation) == (served.tunnel.hostname, served.tunnel.holder_generation)
    assert closed.closed.code == "HAWSE-1008"
    assert closed.WhichOneof("target") is None
    assert not closed.required_features
    assert served.tunnel.agent.token_uid, "what was served is not changed"


@pytest.mark.parametrize(("port", "url"), [(443, "https://a.b/"), (8443, "https://a.b:8443/")])
def test_the_url_names_the_port_unless_it_is_the_usual_one(port: int, url: str) -> None:
    body = {"metadata": {"name": "f"}, "spec": {"domain": "b.c", "listeners": {"https": port}}}
    fleet = v1alpha1.Fleet.from_object(body)
    assert tunnels.url_of("a.b", fleet) == url
    assert tunnels.url_of("tcp-20017.b.c", fleet, 20017) == "tcp://tcp-20017.b.c:20017"
