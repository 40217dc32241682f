"""What we rely on in the embedded cluster, seen through kubectl. For killing its parts see test_cluster_loss.py."""

import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import devcluster
from support.cluster import Kubectl, build_deployment, build_pod, build_service, build_web_pod

CLIENT = """
import os, urllib.request
host, port = os.environ["WEB_SERVICE_HOST"], os.environ["WEB_SERVICE_PORT_HTTP"]
print(port == os.environ["WEB_SERVICE_PORT"], urllib.request.urlopen(f"http://{host}:{port}/", timeout=5).status)
"""
ONCE = """
import os, pathlib, sys, time
mark = pathlib.Path(os.environ["STATE"]) / "runs"
runs = int(mark.read_text()) if mark.exists() else 0
mark.write_text(str(runs + 1))
sys.exit(3) if runs == 0 else time.sleep(600)
"""
POLITE = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text("ended in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("armed")
while True:
    time.sleep(0.05)
"""


def fetch(host: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
        return str(answer.read().decode())


def is_refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # caught the listener while it closed
        return False
    return False


def test_nodes_are_ready_in_their_regions(cluster: devcluster.Cluster) -> None:
    out = cluster.kubectl("get", "nodes", "-L", "topology.kubernetes.io/region", "--no-headers").stdout
    assert sorted((line.split()[0], line.split()[1], line.split()[-1]) for line in out.splitlines()) == [
        ("eu", "Ready", "eu-west"),
        ("us", "Ready", "us-east"),
    ]


def test_service_spreads_connections_over_ready_pods_and_refuses_without_any(kubectl: Kubectl) -> None:
    kubectl.apply(build_deployment("web", 2, build_web_pod()), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    slices = kubectl.get("endpointslices")["items"]
    addresses = [address for item in slices for endpoint in item["endpoints"] for address in endpoint["addresses"]]
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)

    host = kubectl.get("service", "web")["spec"]["clusterIP"]
    devcluster.await_true("the proxy forwards to both pods", lambda: len({fetch(host, 8080) for _ in range(2)}) == 2)
    kubectl("scale", "deployment/web", "--replicas=0")
    devcluster.await_true("the ClusterIP refuses connections", lambda: is_refused(host, 8080))


def test_pods_find_services_of_their_namespace_in_the_environment(kubectl: Kubectl) -> None:
    kubectl.apply(build_deployment("web", 1, build_web_pod()), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    kubectl.apply(build_pod("client", {"args": ["-c", CLIENT]}, restartPolicy="Never"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/client", "--timeout=30s")
    assert kubectl("logs", "client") == "True 200\n"


def test_connection_through_a_service_ends_with_its_endpoint(kubectl: Kubectl) -> None:
    kubectl.apply(build_deployment("web", 1, build_web_pod()), build_service("web"))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    host = kubectl.get("service", "web")["spec"]["clusterIP"]
    devcluster.await_true("the proxy listens", lambda: not is_refused(host, 8080))
    with socket.create_connection((host, 8080), timeout=15) as connection:
        kubectl("delete", "service", "web")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_logs_exec_and_port_forward_reach_a_pod(cluster: devcluster.Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(build_deployment("web", 1, build_web_pod()))
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    with cluster.port_forward(kubectl.namespace, "deployment/web", 8080) as port:
        assert fetch("127.0.0.1", port).startswith("web-")
    assert '"GET / HTTP/1.1" 200' in kubectl("logs", "deployment/web")
    assert kubectl("exec", "deployment/web", "--", "sh", "-c", "echo $HOSTNAME").startswith("web-")
    failed = cluster.kubectl("-n", kubectl.namespace, "exec", "deployment/web", "--", "sh", "-c", "exit 3", check=False)
    assert failed.returncode == 3


def test_previous_log_and_empty_dir_outlive_a_restart_of_the_container(kubectl: Kubectl) -> None:
    state = {"name": "state", "emptyDir": {"medium": "Memory"}}
    container = {
        "args": ["-c", ONCE],
        "env": [{"name": "STATE", "value": "/var/lib/hawse"}],
        "volumeMounts": [{"name": "state", "mountPath": "/var/lib/hawse"}],
    }
    kubectl.apply(build_pod("phoenix", container, volumes=[state]))
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/phoenix", "--timeout=30s")
    kubectl("wait", "--for=condition=Ready", "pod/phoenix", "--timeout=30s")
    status = kubectl.get("pod", "phoenix")["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert kubectl("logs", "phoenix", "--previous") == ""


def test_mounted_files_are_found_by_their_paths_in_env_and_args(kubectl: Kubectl) -> None:
    container = {
        "args": ["-c", "import os; print(open(os.environ['CA']).read()); print(open('/etc/hawse/ca/ca.crt').read())"],
        "env": [{"name": "CA", "value": "/etc/hawse/ca/ca.crt"}],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/hawse/ca", "readOnly": True}],
    }
    volume = {"name": "ca", "projected": {"sources": [{"configMap": {"name": "hawse-ca"}}]}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hawse-ca"}, "data": {"ca.crt": "PEM"}}
    kubectl.apply(config, build_pod("reader", container, volumes=[volume], restartPolicy="Never"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/reader", "--timeout=30s")
    assert kubectl("logs", "reader") == "PEM\nPEM\n"


def test_projected_token_is_for_its_audience_and_names_its_pod(cluster: devcluster.Cluster, kubectl: Kubectl) -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "hawse", "expirationSeconds": 3600}}
    container = {
        "args": ["-c", "print(open('/var/run/secrets/hawse/token').read(), end='')"],
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/hawse"}],
    }
    volumes = [{"name": "token", "projected": {"sources": [token]}}]
    kubectl.apply(build_pod("holder", container, volumes=volumes, restartPolicy="OnFailure"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/holder", "--timeout=30s")
    text = kubectl("logs", "holder").strip()

    def review(audience: str) -> dict[str, Any]:
        spec = {"token": text, "audiences": [audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        out = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)).stdout
        status: dict[str, Any] = json.loads(out)["status"]
        return status

    accepted = review("hawse")
    assert accepted["authenticated"]
    assert accepted["user"]["username"] == f"system:serviceaccount:{kubectl.namespace}:default"
    assert accepted["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["holder"]
    assert not review("somebody-else").get("authenticated", False)


def test_pod_has_the_rights_of_its_service_account_only(kubectl: Kubectl) -> None:
    container = {"image": "test/shell", "args": ["-c", "kubectl auth whoami -o json; kubectl get secrets"]}
    kubectl.apply(build_pod("curious", container, restartPolicy="Never"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/curious", "--timeout=30s")
    log = kubectl("logs", "curious")
    assert f"system:serviceaccount:{kubectl.namespace}:default" in log
    assert "Error from server (Forbidden): secrets is forbidden" in log


def test_admission_policy_asks_the_authorizer(cluster: devcluster.Cluster, kubectl: Kubectl) -> None:
    name = kubectl.namespace
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    may_use = "authorizer.group('hawse.dev').resource('domains').name(object.data.domain).check('use').allowed()"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
            },
            "matchConditions": [{"name": "has-a-domain", "expression": "has(object.data) && 'domain' in object.data"}],
            "validations": [{"expression": may_use, "messageExpression": "'no right to ' + object.data.domain"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {"apiGroups": ["hawse.dev"], "resources": ["domains"], "resourceNames": ["ours.test"], "verbs": ["use"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }
    kubectl.apply(policy, binding, role)
    kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={name}")

    def claim(domain: str) -> str:
        arguments = ("create", "configmap", "x", f"--from-literal=domain={domain}", "--dry-run=server", "--as", name)
        return kubectl(*arguments, check=False)

    devcluster.await_true("the policy refuses", lambda: "no right to theirs.test" in claim("theirs.test"))
    assert "created" in claim("ours.test")
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy", "clusterrolebinding", "clusterrole"):
        cluster.kubectl("delete", kind, name)


def test_server_side_apply_names_the_manager_it_conflicts_with(cluster: devcluster.Cluster, kubectl: Kubectl) -> None:
    def apply(manager: str, value: str, *more: str) -> str:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"key": value}}
        arguments = ("apply", "--server-side", f"--field-manager={manager}", *more, "-f", "-")
        return kubectl(*arguments, stdin=json.dumps(body), check=False)

    apply("alice", "one")
    assert 'conflict with "alice"' in apply("bob", "two")
    apply("bob", "two", "--force-conflicts")
    assert kubectl.get("configmap", "shared")["data"] == {"key": "two"}


def test_objects_go_with_their_owner(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "owner")
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": kubectl.get("configmap", "owner")["metadata"]["uid"],
    }
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [owner]}}
    kubectl.apply(child)
    kubectl("delete", "configmap", "owner")
    kubectl("wait", "--for=delete", "configmap/child", "--timeout=20s")


def test_container_gets_sigterm_and_its_grace_period(kubectl: Kubectl, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    kubectl.apply(build_pod("polite", {"args": ["-c", POLITE, str(mark)]}, terminationGracePeriodSeconds=10))
    devcluster.await_true("the process handles SIGTERM", lambda: "armed" in kubectl("logs", "polite", check=False))
    kubectl("delete", "pod", "polite", "--timeout=20s")
    assert mark.read_text() == "ended in order"


def test_image_without_a_command_is_reported_like_one_that_cannot_be_pulled(kubectl: Kubectl) -> None:
    kubectl.apply(build_pod("unknown", {"image": "nobody/knows"}))
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    devcluster.await_true(
        "the container waits with a reason",
        lambda: kubectl("get", "pod", "unknown", "-o", reason) in {"ErrImagePull", "CrashLoopBackOff"},
    )
    devcluster.await_true(
        "an event says what is missing", lambda: "has no entry in the image map" in kubectl("get", "events")
    )
