"""The chart on a real cluster: Helm installs it, rights are as narrow as promised, the Secret policy holds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import devcluster

ROOT = Path(__file__).parents[2]
SYSTEM = "hawse-system"
TENANT = "chart-tenant"
OPERATOR = f"system:serviceaccount:{SYSTEM}:hawse-operator"
EXIT_NODE = f"system:serviceaccount:{SYSTEM}:hawse-exitnode"
MANAGED = "app.kubernetes.io/managed-by=hawse-operator"
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]  # a cold machine builds Helm first

MAY = [
    # (who, verb, what, namespace, is allowed)
    (OPERATOR, "list", "tunnels", TENANT, True),
    (OPERATOR, "watch", "fleets", "", True),
    (OPERATOR, "patch", "tunnels/status", TENANT, True),
    (OPERATOR, "patch", "subdomainreservations/status", "", True),
    (OPERATOR, "create", "subdomainreservations", "", True),
    (OPERATOR, "delete", "agentsessions", TENANT, True),
    (OPERATOR, "create", "tunnels", TENANT, False),
    (OPERATOR, "patch", "tunnels", TENANT, False),
    (OPERATOR, "patch", "agenttokens", TENANT, False),
    (OPERATOR, "patch", "exitnodes", "", False),
    (OPERATOR, "delete", "tunnels", TENANT, False),
    (OPERATOR, "delete", "agenttokens", TENANT, False),
    (OPERATOR, "get", "secrets/laptop-token", TENANT, True),
    (OPERATOR, "create", "secrets", TENANT, True),
    (OPERATOR, "list", "secrets", TENANT, False),
    (OPERATOR, "watch", "secrets", SYSTEM, False),
    (OPERATOR, "deletecollection", "secrets", TENANT, False),
    (OPERATOR, "create", "deployments.apps", SYSTEM, True),
    (OPERATOR, "create", "deployments.apps", TENANT, False),
    (OPERATOR, "patch", "horizontalpodautoscalers.autoscaling", SYSTEM, True),
    (OPERATOR, "create", "horizontalpodautoscalers.autoscaling", TENANT, False),
    (OPERATOR, "delete", "poddisruptionbudgets.policy", SYSTEM, True),
    (OPERATOR, "list", "poddisruptionbudgets.policy", TENANT, False),
    (OPERATOR, "deletecollection", "poddisruptionbudgets.policy", SYSTEM, False),
    (OPERATOR, "create", "pods/eviction", SYSTEM, False),
    (OPERATOR, "patch", "pods", SYSTEM, True),
    (OPERATOR, "get", "pods", TENANT, False),
    (OPERATOR, "create", "pods", SYSTEM, False),
    (OPERATOR, "create", "pods/exec", SYSTEM, False),
    (OPERATOR, "update", "leases.coordination.k8s.io/hawse-operator", SYSTEM, True),
    (OPERATOR, "update", "leases.coordination.k8s.io/other", SYSTEM, False),
    (OPERATOR, "create", "tokenreviews.authentication.k8s.io", "", True),
    (OPERATOR, "create", "serviceaccounts/token", SYSTEM, False),
    (OPERATOR, "create", "clusterroles.rbac.authorization.k8s.io", "", False),
    (OPERATOR, "list", "namespaces", "", True),
    (OPERATOR, "patch", "namespaces", "", False),
    (OPERATOR, "create", "events.events.k8s.io", TENANT, True),
    (OPERATOR, "patch", "dnsendpoints.externaldns.k8s.io", SYSTEM, True),
    (OPERATOR, "patch", "dnsendpoints.externaldns.k8s.io", TENANT, False),
    (EXIT_NODE, "get", "secrets/hawse-ca", SYSTEM, False),
    (EXIT_NODE, "list", "tunnels", TENANT, False),
    (EXIT_NODE, "get", "configmaps/hawse-ca", SYSTEM, False),
    ("editor", "create", "tunnels", TENANT, True),
    ("editor", "delete", "agenttokens", TENANT, True),
    ("editor", "list", "agentsessions", TENANT, True),
    ("editor", "patch", "agentsessions", TENANT, False),
    ("editor", "patch", "tunnels/status", TENANT, False),
    ("editor", "list", "subdomainreservations", "", False),
    ("viewer", "list", "tunnels", TENANT, True),
    ("viewer", "create", "tunnels", TENANT, False),
    ("viewer", "get", "subdomainreservations/shop.tunnels.localhost", "", False),
    ("namespace-admin", "create", "agenttokens", TENANT, True),
    ("namespace-admin", "create", "fleets", "", False),
    ("platform", "create", "fleets", "", True),
    ("platform", "patch", "exitnodes/scale", "", True),
    ("platform", "delete", "subdomainreservations", "", True),
    ("platform", "create", "tunnels", TENANT, False),
]
HAWSE = {"tunnels", "fleets", "exitnodes", "subdomainreservations", "agenttokens", "agentsessions"}
SUBRESOURCES = {"status", "scale", "exec", "token", "eviction"}
PEOPLE = {"editor": "edit", "viewer": "view", "namespace-admin": "admin"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    """The chart in a cluster of its own, without pods (replicas=0), and people bound to the cluster's own roles."""
    with devcluster.Cluster(tmp_path_factory.mktemp("cluster"), [], {}) as cluster:
        install(cluster)
        yield cluster
        cluster.helm("uninstall", "hawse", "--namespace", SYSTEM, "--wait", "--timeout", "60s")
        kept = cluster.kubectl("get", "crd", "-o", "name").stdout
        assert "tunnels.hawse.dev" in kept, "helm uninstall must not take the Tunnels along"


def install(cluster: devcluster.Cluster) -> None:
    for namespace in (SYSTEM, TENANT):
        cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl(
        "apply", "-f", str(ROOT / "tests/support/dnsendpoint-crd.yaml")
    )  # `can-i` asks for known kinds only
    chart = str(ROOT / "charts" / "hawse")
    cluster.helm("install", "hawse", chart, "--namespace", SYSTEM, "--set", "replicas=0", "--wait", "--timeout", "60s")
    for person, role in PEOPLE.items():
        cluster.kubectl("create", "rolebinding", person, f"--clusterrole={role}", f"--user={person}", "-n", TENANT)
    cluster.kubectl("create", "clusterrolebinding", "platform", "--clusterrole=hawse-platform", "--user=platform")


@pytest.mark.parametrize(
    ("who", "verb", "what", "namespace", "expected"), MAY, ids=[f"{m[0].split(':')[-1]}-{m[1]}-{m[2]}" for m in MAY]
)
def test_rights_are_as_promised(
    release: devcluster.Cluster, who: str, verb: str, what: str, namespace: str, expected: bool
) -> None:
    resource, _, rest = what.partition("/")
    group = f"{resource}.hawse.dev" if "." not in resource and resource in HAWSE else resource
    arguments = [group]
    if rest in SUBRESOURCES:
        arguments.append(f"--subresource={rest}")
    elif rest:
        arguments = [f"{group}/{rest}"]
    scope = ["-n", namespace] if namespace else []
    answer = release.kubectl("auth", "can-i", verb, *arguments, *scope, "--as", who, check=False).stdout
    assert ("yes" in answer.split()) is expected


def secret(name: str, *, labelled: bool) -> str:
    """Return a Secret as JSON, for `kubectl create -f -`."""
    key, _, value = MANAGED.partition("=")
    labels = {key: value} if labelled else {}
    metadata = {"name": name, "namespace": TENANT, "labels": labels}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "x"}})


@pytest.fixture(scope="module")
def policy(release: devcluster.Cluster) -> devcluster.Cluster:
    """The release, once the API server enforces the policy (about a second after its creation)."""
    release.kubectl("create", "-f", "-", stdin=secret("probe", labelled=False))

    def is_enforced() -> bool:
        said = release.kubectl(
            "delete", "secret", "probe", "-n", TENANT, "--as", OPERATOR, "--dry-run=server", check=False
        )
        return "denied" in said.stderr

    devcluster.await_true("the Secret policy is enforced", is_enforced, timeout_s=20)
    return release


AS_OPERATOR = ("-n", TENANT, "--as", OPERATOR)
DATA = '{"stringData":{"token":"stolen"}}'
ADOPT = json.dumps({"metadata": {"labels": {MANAGED.partition("=")[0]: MANAGED.partition("=")[2]}}})
DISOWN = json.dumps({"metadata": {"labels": {MANAGED.partition("=")[0]: None}}})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("patch", "secret", "probe", "-p", DATA), f"may not change or delete the Secret {TENANT}/probe"),
        (("patch", "secret", "probe", "-p", ADOPT), f"may not change or delete the Secret {TENANT}/probe"),
        (("delete", "secret", "probe"), f"may not change or delete the Secret {TENANT}/probe"),
        (("create", "secret", "generic", "bare", "--from-literal=token=x"), "must carry the label"),
    ],
    ids=["patch", "adopt", "delete", "create-without-label"],
)
def test_the_operator_cannot_touch_a_secret_that_it_did_not_make(
    policy: devcluster.Cluster, arguments: tuple[str, ...], said: str
) -> None:
    answer = policy.kubectl(*arguments, *AS_OPERATOR, check=False).stderr
    assert "denied" in answer
    assert said in answer


def test_the_operator_makes_changes_and_deletes_its_own_secrets(policy: devcluster.Cluster) -> None:
    policy.kubectl("create", "-f", "-", *AS_OPERATOR, stdin=secret("own", labelled=True))
    policy.kubectl("patch", "secret", "own", "-p", DATA, *AS_OPERATOR)
    answer = policy.kubectl("patch", "secret", "own", "-p", DISOWN, *AS_OPERATOR, check=False).stderr
    assert "must carry the label" in answer
    policy.kubectl("delete", "secret", "own", *AS_OPERATOR)


def test_the_policy_leaves_other_people_alone(policy: devcluster.Cluster) -> None:
    policy.kubectl("patch", "secret", "probe", "-p", DATA, "-n", TENANT, "--as", "editor", "--dry-run=server")


def test_the_operators_pod_passes_the_restricted_pod_security_standard(release: devcluster.Cluster) -> None:
    deployment = json.loads(release.kubectl("get", "deployment", "hawse-operator", "-n", SYSTEM, "-o", "json").stdout)
    release.kubectl("label", "namespace", TENANT, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    spec = deployment["spec"]["template"]["spec"] | {"serviceAccountName": "default", "serviceAccount": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": TENANT}, "spec": spec}
    assert "pod/probe created" in release.kubectl("create", "-f", "-", "--dry-run=server", stdin=json.dumps(pod)).stdout
    release.kubectl("label", "namespace", TENANT, "pod-security.kubernetes.io/enforce-")


def test_the_name_servers_pod_passes_it_too_and_their_key_outlives_an_upgrade(release: devcluster.Cluster) -> None:
    chart = str(ROOT / "charts" / "hawse")
    values = ("--set", "replicas=0,dns.embedded.enabled=true")

    def install_dns() -> str:
        release.helm("upgrade", "hawse", chart, "--namespace", SYSTEM, *values, "--timeout", "60s")
        secret = release.kubectl("get", "secret", "hawse-dns", "-n", SYSTEM, "-o", "jsonpath={.data.api-key}")
        return secret.stdout

    key = install_dns()
    assert len(key) > 50
    assert install_dns() == key
    found = json.loads(release.kubectl("get", "statefulset", "hawse-dns", "-n", SYSTEM, "-o", "json").stdout)
    spec = found["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "data", "emptyDir": {}})  # stands for the claim
    release.kubectl("label", "namespace", TENANT, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dns", "namespace": TENANT}, "spec": spec}
    assert "pod/dns created" in release.kubectl("create", "-f", "-", "--dry-run=server", stdin=json.dumps(pod)).stdout
    release.kubectl("label", "namespace", TENANT, "pod-security.kubernetes.io/enforce-")
    release.helm("upgrade", "hawse", chart, "--namespace", SYSTEM, "--set", "replicas=0", "--timeout", "60s")


def test_watched_namespaces_narrow_the_rights_of_the_operator(release: devcluster.Cluster) -> None:
    chart = str(ROOT / "charts" / "hawse")
    common = ("upgrade", "hawse", chart, "--namespace", SYSTEM, "--set", "replicas=0", "--wait", "--timeout", "60s")

    def may_read_secrets(namespace: str) -> bool:
        arguments = ("auth", "can-i", "get", "secrets/x", "-n", namespace, "--as", OPERATOR)
        return release.kubectl(*arguments, check=False).stdout.strip().endswith("yes")

    def may_post_events(namespace: str) -> bool:
        arguments = ("auth", "can-i", "create", "events.events.k8s.io", "-n", namespace, "--as", OPERATOR)
        return release.kubectl(*arguments, check=False).stdout.strip().endswith("yes")

    release.helm(*common, "--set", f"watchNamespaces={{{TENANT}}}")
    assert (may_read_secrets(TENANT), may_read_secrets("default"), may_read_secrets(SYSTEM)) == (True, False, True)
    assert (may_post_events(TENANT), may_post_events("default"), may_post_events("kube-system")) == (True, True, False)
    release.helm(*common)
    assert may_read_secrets("default")
