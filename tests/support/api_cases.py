"""Specs that the API refuses or accepts: one table for the models (unit) and for a real API server (cluster).

That both say the same is the point; nothing here asks either of them.
"""

import copy
from collections.abc import Sequence
from typing import Any

VALID: dict[str, dict[str, Any]] = {
    "Tunnel": {
        "host": {"type": "Subdomain", "subdomain": "shop"},
        "target": {"type": "Agent", "agent": {"tokenRef": {"name": "laptop"}}},
    },
    "ExitNode": {"region": "eu-west"},
    "Fleet": {"domain": "tunnels.example.com"},
    "SubdomainReservation": {
        "claimRef": {"namespace": "team-a", "namespaceUID": "6b2c", "name": "shop"},
        "boundAt": "2026-03-01T00:00:00Z",
    },
    "AgentToken": {},
    "AccessPolicy": {"basic": {"secretRef": {"name": "users"}}},
    "AgentSession": {"tokenName": "laptop", "agentID": "a1b2"},
}


class Removed:
    """In place of a value: the field is taken away."""

    def __str__(self) -> str:
        return "removed"


REMOVED = Removed()


def ids(cases: Sequence[tuple[Any, ...]]) -> list[str]:
    """Names of cases that stay the same from run to run."""
    return [f"{kind}-{path}-{str(value)[:24]}" for kind, path, value, *_ in cases]


def spec_with(kind: str, path: str, value: Any) -> dict[str, Any]:
    """Return the valid spec of `kind` with one field changed, made or (REMOVED) taken away; without a path: several."""
    spec = copy.deepcopy(VALID[kind])
    if not path:
        return {field: said for field, said in (spec | value).items() if not isinstance(said, Removed)}
    *parents, last = path.split(".")
    node = spec
    for part in parents:
        node = node.setdefault(part, {})
    if isinstance(value, Removed):
        del node[last]
    else:
        node[last] = value
    return spec


POWERDNS: dict[str, Any] = {
    "servers": [{"name": "a", "url": "http://dns.example:8081"}],
    "apiKeyRef": {"name": "dns"},
}
AUTO: dict[str, Any] = {"maxReplicas": 3, "targetCPU": 70}


def tcp(**fields: Any) -> dict[str, Any]:
    """Fields of a TCP Tunnel."""
    return {"host": REMOVED, "protocol": "TCP"} | fields


def autoscaled(resources: dict[str, Any], **managed: Any) -> dict[str, Any]:
    """Fields of an ExitNode that scales by CPU."""
    return {"autoscaling": AUTO, "deployment": {"type": "Managed", "managed": {"resources": resources, **managed}}}


REFUSED: list[tuple[str, str, Any, str, str]] = [
    # (kind, field, value, where, what is said)
    ("Tunnel", "colour", "red", "spec.colour", "unknown field"),
    ("Tunnel", "fleet_name", "default", "spec.fleet_name", "unknown field"),
    ("Tunnel", "protocol", "UDP", "spec.protocol", "must be one of 'HTTP' or 'TCP'"),
    ("Tunnel", "protocol", "TCP", "spec", "host belongs to protocol HTTP"),
    ("Tunnel", "port", 20017, "spec", "port belongs to protocol TCP"),
    ("Tunnel", "", tcp(port=0), "spec.port", "greater than or equal to 1"),
    ("Tunnel", "", tcp(tls={"certificateRef": {"name": "x"}}), "spec", "tls and appProtocol belong to protocol HTTP"),
    *(
        ("Tunnel", "", tcp(target={"type": "URL", **wrong}), "spec", says)
        for wrong, says in (
            ({"url": "tcp://db.example:5432", "appProtocol": "H2C"}, "tls and appProtocol belong to protocol HTTP"),
            ({"url": "https://db.example"}, "url begins with tcp:// in a Tunnel with protocol TCP"),
        )
    ),
    ("Tunnel", "target", {"type": "URL", "url": "tcp://db.example:5432"}, "spec", "url begins with tcp://"),
    (
        "Tunnel",
        "",
        tcp(standby={"target": {"type": "URL", "url": "http://db.example"}}),
        "spec",
        "url begins with tcp:// in a Tunnel with protocol TCP",
    ),
    ("Tunnel", "fleetName", "Default", "spec.fleetName", "must match"),
    ("Tunnel", "fleetName", "x" * 41, "spec.fleetName", "at most 40 characters"),
    ("Tunnel", "host", REMOVED, "spec", "host belongs to protocol HTTP"),
    ("Tunnel", "host.subdomain", REMOVED, "spec.host", "subdomain belongs to type Subdomain"),
    ("Tunnel", "host.subdomain", "Shop", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "shop.eu", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "-shop", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "shop\n", "spec.host.subdomain", "must match"),
    ("Tunnel", "host.subdomain", "", "spec.host.subdomain", "at least 1 character"),
    ("Tunnel", "host.subdomain", "s" * 64, "spec.host.subdomain", "at most 63 characters"),
    ("Tunnel", "host.subdomain", "xn--pypal-4ve", "spec.host.subdomain", "internationalised names"),
    ("Tunnel", "host.type", "Wildcard", "spec.host.type", "must be one of 'Subdomain', 'Generated' or 'Hostname'"),
    ("Tunnel", "host", {"type": "Generated", "subdomain": "shop"}, "spec.host", "subdomain belongs to type Subdomain"),
    ("Tunnel", "host", {"type": "Hostname"}, "spec.host", "hostname belongs to type Hostname"),
    ("Tunnel", "host", {"type": "Hostname", "hostname": "shop"}, "spec.host.hostname", "must match"),
    ("Tunnel", "host", {"type": "Hostname", "hostname": "*.example.org"}, "spec.host.hostname", "must match"),
    ("Tunnel", "host", {"type": "Hostname", "hostname": "shop.example.org."}, "spec.host.hostname", "must match"),
    ("Tunnel", "tls", {}, "spec.tls.certificateRef", "is required"),
    ("Tunnel", "target.agent", REMOVED, "spec.target", "agent belongs to type Agent"),
    ("Tunnel", "target.agent.tokenRef.key", "token", "spec.target.agent.tokenRef.key", "unknown field"),
    ("Tunnel", "target.appProtocol", "HTTPS", "spec.target.appProtocol", "must be one of 'HTTP1' or 'H2C'"),
    ("Tunnel", "target.type", "Pod", "spec.target.type", "must be one of 'Agent', 'Service' or 'URL'"),
    ("Tunnel", "target.type", "URL", "spec.target", "url belongs to type URL"),
    ("Tunnel", "target", {"type": "Service", "service": {"name": "web"}}, "spec.target.service.port", "is required"),
    *(
        ("Tunnel", "target", {"type": "Service", "service": {"name": "web", "port": port}}, "service.port", "a port")
        for port in (0, 65536, "", "Http", "-", "http_alt", "a-name-of-16-char")
    ),
    ("Tunnel", "target", {"type": "Service", "service": {"name": "Web", "port": 80}}, "service.name", "must match"),
    *(
        ("Tunnel", "target", {"type": "URL", "url": url}, "spec.target.url", "no path, no user")
        for url in (
            "ftp://a.example",
            "https://a.example/",
            "tcp://a.example",
            "https://user@a.example",
            "https://A.example",
            "https://a.example:0",
            "https://a.example:65536",
            "https://a.example:",
            "https://",
            "https://fe80::1",
            "https://a.example\n",
            "a.example",
        )
    ),
    ("Tunnel", "access", {}, "spec.access.policyRef", "is required"),
    ("Fleet", "accessDefaults", {"policyRef": {"name": "a"}}, "spec.accessDefaults.policyRef.namespace", "is required"),
    (
        "Fleet",
        "accessDefaults",
        {"policyRef": {"name": "a", "namespace": "b"}, "mode": "Off"},
        "spec.accessDefaults.mode",
        "must be one of 'Default' or 'Required'",
    ),
    ("Tunnel", "access", {"policyRef": {"name": "a/b"}}, "spec.access.policyRef.name", "must match"),
    ("AccessPolicy", "basic", REMOVED, "spec", "nobody could come in"),
    ("AccessPolicy", "mode", "Some", "spec.mode", "must be one of 'Any' or 'All'"),
    (
        "AccessPolicy",
        "oidc",
        {"issuer": "http://a.example", "clientID": "c"},
        "spec.oidc.issuer",
        "must be an https address",
    ),
    ("AccessPolicy", "oidc", {"issuer": "https://a.example?x=1", "clientID": "c"}, "spec.oidc.issuer", "https address"),
    ("AccessPolicy", "oidc", {"issuer": "https://a.example"}, "spec.oidc.clientID", "is required"),
    (
        "AccessPolicy",
        "oidc",
        {"issuer": "https://a.example", "clientID": "c", "sessionLifetime": "25h"},
        "spec.oidc.sessionLifetime",
        "between 10m and 24h",
    ),
    ("AccessPolicy", "ipRanges", {"allow": ["office"]}, "spec.ipRanges.allow[0]", "must be a network"),
    *(
        ("AccessPolicy", "apiKeys", {"secretRef": {"name": "k"}, "header": name}, "spec.apiKeys.header", what)
        for name, what in (
            ("Authorization", "means something else"),
            ("X-Hawse-User", "means something else"),
            ("Sec-Fetch-Mode", "means something else"),
            ("x_api_key", "must match"),
            ("X-", "must match"),
        )
    ),
    *(
        (
            "AccessPolicy",
            "jwt",
            [{"issuer": "a", "audiences": ["b"], "jwksURI": url}],
            "spec.jwt[0].jwksURI",
            "must match",
        )
        for url in ("http://a.example/keys", "https://user@a.example/", "https://a.example/a b", "https:///keys/")
    ),
    ("AccessPolicy", "jwt", [{"issuer": "a", "audiences": [], "jwksURI": "https://a.b/"}], "audiences", "at least 1"),
    ("AccessPolicy", "authorization", {"rules": []}, "spec.authorization.rules", "at least 1"),
    ("AccessPolicy", "authorization.rules", [{"name": "a", "claim": "b", "anyOf": []}], "anyOf", "at least 1"),
    ("Tunnel", "standby", {}, "spec.standby.target", "is required"),
    (
        "Tunnel",
        "standby",
        {"target": {"type": "Agent", "agent": {"tokenRef": {"name": "laptop"}}}},
        "spec",
        "an AgentToken of their own",
    ),
    *(
        ("Tunnel", "standby", {"target": {"type": "URL", "url": "https://a.example"}, **wrong}, where, says)
        for wrong, where, says in (
            ({"healthCheck": {"path": "healthz"}}, "standby.healthCheck.path", "must match"),
            ({"healthCheck": {"path": "/a b"}}, "standby.healthCheck.path", "must match"),
            ({"healthCheck": {"interval": "499ms"}}, "standby.healthCheck.interval", "between 500ms and 5m"),
            ({"healthCheck": {"timeout": "31s"}}, "standby.healthCheck.timeout", "between 100ms and 30s"),
            ({"healthCheck": {"unhealthyThreshold": 0}}, "unhealthyThreshold", "greater than or equal to 1"),
            ({"failback": {"after": "25h"}}, "standby.failback.after", "between 0s and 24h"),
        )
    ),
    ("Tunnel", "traffic.timeouts.request", "60", "spec.traffic.timeouts.request", "must match"),
    ("Tunnel", "traffic.timeouts.request", "99ms", "spec.traffic.timeouts.request", "between 100ms and 1h"),
    ("Tunnel", "traffic.timeouts.request", "1h1ms", "spec.traffic.timeouts.request", "between 100ms and 1h"),
    ("Tunnel", "traffic.timeouts.idle", "25h", "spec.traffic.timeouts.idle", "between 1s and 24h"),
    ("Tunnel", "traffic.maxConcurrent", 0, "spec.traffic.maxConcurrent", "greater than or equal to 1"),
    ("Tunnel", "traffic.maxConcurrent", 961, "spec.traffic.maxConcurrent", "less than or equal to 960"),
    ("Tunnel", "", tcp(traffic={"shield": {}}), "spec", "traffic.shield is for HTTP tunnels"),
    *(
        ("Tunnel", "traffic.shield", wrong, f"spec.traffic.shield.{where}", says)
        for wrong, where, says in (
            ({"ttl": "0s"}, "ttl", "between 1ms and 1h"),
            ({"ttl": "61m"}, "ttl", "between 1ms and 1h"),
            ({"staleIfError": "169h"}, "staleIfError", "between 1s and 168h"),
            ({"staleWhileRevalidate": "25h"}, "staleWhileRevalidate", "between 1s and 24h"),
            ({"keyHeaders": ["x y"]}, "keyHeaders[0]", "must match"),
            ({"keyHeaders": ["CooKie"]}, "keyHeaders[0]", "cookie cannot be a key header"),
            ({"bypassCookies": ["a=b"]}, "bypassCookies[0]", "must match"),
            ({"hits": 1}, "hits", "unknown field"),
        )
    ),
    ("Tunnel", "reclaimPolicy", "Keep", "spec.reclaimPolicy", "must be one of 'Retain' or 'Delete'"),
    ("Tunnel", "suspend", "true", "spec.suspend", "valid boolean"),
    ("Tunnel", "suspend", 1, "spec.suspend", "valid boolean"),
    ("ExitNode", "region", REMOVED, "spec.region", "is required"),
    ("ExitNode", "region", "eu west", "spec.region", "must match"),
    ("ExitNode", "replicas", -1, "spec.replicas", "greater than or equal to 0"),
    ("ExitNode", "replicas", 101, "spec.replicas", "less than or equal to 100"),
    ("ExitNode", "replicas", "2", "spec.replicas", "valid integer"),
    ("ExitNode", "autoscaling", {"targetCPU": 70}, "spec.autoscaling.maxReplicas", "is required"),
    (
        "ExitNode",
        "autoscaling",
        {"minReplicas": 3, "maxReplicas": 2, "targetCPU": 70},
        "spec.autoscaling",
        "minReplicas must not be greater than maxReplicas",
    ),
    ("ExitNode", "autoscaling", {"maxReplicas": 2}, "spec.autoscaling", "at least one of targetCPU and targetConnect"),
    ("ExitNode", "autoscaling", AUTO | {"minReplicas": 0}, "autoscaling.minReplicas", "greater than or equal to 1"),
    ("ExitNode", "autoscaling", AUTO | {"maxReplicas": 101}, "autoscaling.maxReplicas", "less than or equal to 100"),
    ("ExitNode", "autoscaling", AUTO | {"targetCPU": 0}, "spec.autoscaling.targetCPU", "greater than or equal to 1"),
    ("ExitNode", "", autoscaled({"requests": {"memory": "1Gi"}}), "spec", "set that too"),
    ("ExitNode", "weight", -1, "spec.weight", "greater than or equal to 0"),
    ("ExitNode", "weight", 1_000_001, "spec.weight", "less than or equal to 1000000"),
    ("ExitNode", "location", {"latitude": "91", "longitude": "0"}, "spec.location.latitude", "between -90 and 90"),
    ("ExitNode", "location", {"latitude": "0", "longitude": "181"}, "spec.location.longitude", "between -180 and 180"),
    ("ExitNode", "location", {"latitude": "52N", "longitude": "0"}, "spec.location.latitude", "must match"),
    ("Tunnel", "placement", {"policy": "Random"}, "spec.placement.policy", "must be one of"),
    (
        "Tunnel",
        "placement",
        {"policy": "Weighted", "regions": [{"name": "eu west"}]},
        "spec.placement.regions[0].name",
        "must match",
    ),
    ("Fleet", "dns", {"type": "PowerDNS"}, "spec.dns", "powerDNS belongs to type PowerDNS"),
    (
        "Fleet",
        "dns",
        {"type": "PowerDNS", "powerDNS": POWERDNS | {"nameservers": ["ns1.tunnels.example.com"]}},
        "spec",
        "nameservers must lie outside the domain",
    ),
    ("Fleet", "dns", {"type": "None", "externalDNS": {}}, "spec.dns", "externalDNS belongs to type ExternalDNS"),
    ("Fleet", "dns", {"type": "None", "ttl": "4s"}, "spec.dns.ttl", "between 5s and 1h"),
    (
        "Fleet",
        "dns",
        {"type": "None", "clientNetworks": [{"region": "eu", "cidrs": ["10.0.0.1/8"]}]},
        "spec.dns.clientNetworks[0].cidrs[0]",
        "without host bits",
    ),
    (
        "Fleet",
        "dns",
        {"type": "None", "clientNetworks": [{"region": "eu", "cidrs": ["');os.exit()"]}]},
        "spec.dns.clientNetworks[0].cidrs[0]",
        "network",
    ),
    (
        "Fleet",
        "dns",
        {"type": "PowerDNS", "powerDNS": POWERDNS | {"servers": []}},
        "spec.dns.powerDNS.servers",
        "at least 1",
    ),
    (
        "Fleet",
        "dns",
        {"type": "PowerDNS", "powerDNS": POWERDNS | {"servers": [{"name": "a", "url": "ftp://x"}]}},
        "spec.dns.powerDNS.servers[0].url",
        "must match",
    ),
    ("ExitNode", "deployment", {"type": "Managed"}, "spec.deployment", "managed belongs to type Managed"),
    ("ExitNode", "deployment", {"type": "External"}, "spec.deployment.type", "must be one of 'Managed'"),
    ("ExitNode", "address", {"type": "Service"}, "spec.address", "service belongs to type Service"),
    ("ExitNode", "address", {"type": "PodIPs", "service": {}}, "spec.address", "service belongs to type Service"),
    ("ExitNode", "address", {"type": "PodIPs", "static": {"ips": ["::1"]}}, "spec.address", "static belongs to"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": []}}, "spec.address.static.ips", "at least 1 item"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["1.2.3"]}}, "spec.address.static.ips[0]", "IPv4 or"),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["fe80::1%eth0"]}}, "static.ips[0]", "IPv4 or IPv6"),
    ("ExitNode", "address", {"type": "Service", "service": {"type": "ExternalName"}}, "address.service.type", "one of"),
    ("ExitNode", "shutdown.minDrainDuration", "11m", "spec.shutdown.minDrainDuration", "between 0s and 10m"),
    ("ExitNode", "shutdown.drainTimeout", "0s", "spec.shutdown.drainTimeout", "between 1s and 1h"),
    ("Fleet", "domain", "localhost", "spec.domain", "must match"),
    ("Fleet", "domain", "Tunnels.example.com", "spec.domain", "must match"),
    ("Fleet", "domain", "tunnels.example.com.", "spec.domain", "must match"),
    ("Fleet", "domain", f"{'a' * 64}.com", "spec.domain", "must match"),
    ("Fleet", "domain", ".".join(["a" * 62] * 4), "spec.domain", "at most 189 characters"),
    *(
        ("Fleet", "tcpPorts", text, "spec.tcpPorts", says)
        for text, says in (
            *(
                (text, "must be a range of at most 1000 ports from 1024 on, such as 20000-20999")
                for text in ("20000", "20000-x099", "1000-1999", "20000-21000", "20001-20000", "65000-65536", "20000-")
            ),
            ("20000-20999,x", "at most 11 characters"),
            ("8000-8999", "must leave out 8443 and 9090"),
            ("9090-9090", "must leave out 8443 and 9090"),
        )
    ),
    ("Fleet", "", {"tcpPorts": "20000-20999", "listeners": {"https": 20443}}, "spec", "leave out listeners.https"),
    ("Fleet", "listeners.https", 0, "spec.listeners.https", "greater than or equal to 1"),
    ("Fleet", "listeners.agents", 65536, "spec.listeners.agents", "less than or equal to 65535"),
    ("Fleet", "certificate", {"type": "Secret"}, "spec.certificate", "secret belongs to type Secret"),
    ("Fleet", "certificate", {"type": "SelfSigned", "secret": {"name": "x"}}, "spec.certificate", "secret belongs to"),
    ("Fleet", "certificate", {"type": "Issuer"}, "spec.certificate.type", "must be one of"),
    ("Fleet", "allowedNamespaces", {"from": "Selector"}, "spec.allowedNamespaces", "selector belongs to from Selector"),
    ("Fleet", "allowedNamespaces", {"from": "All", "selector": {}}, "spec.allowedNamespaces", "selector belongs to"),
    ("Fleet", "allowedNamespaces", {"from": "Same"}, "spec.allowedNamespaces.from", "must be one of"),
    (
        "Fleet",
        "allowedNamespaces",
        {"from": "Selector", "selector": {"matchExpressions": [{"key": "team", "operator": "In"}]}},
        "spec.allowedNamespaces.selector.matchExpressions[0]",
        "values belong to the operators In and NotIn",
    ),
    ("Fleet", "reservedNames", ["under_score"], "spec.reservedNames[0]", "must match"),
    ("Fleet", "proxyProtocol.trustedCIDRs", ["10.0.0.0"], "spec.proxyProtocol.trustedCIDRs[0]", "must be a network"),
    ("Fleet", "proxyProtocol.trustedCIDRs", ["10.0.0.0/33"], "spec.proxyProtocol.trustedCIDRs[0]", "must be a network"),
    ("Fleet", "proxyProtocol", {"mode": "Required"}, "spec.proxyProtocol", "mode Required needs trustedCIDRs"),
    *(
        ("Fleet", "targets.allowedCIDRs", [network], "spec.targets.allowedCIDRs[0]", "must be a network")
        for network in ("10.0.0.0", "10.0.0.0/33", "everywhere")
    ),
    ("Fleet", "quotas.tunnelsPerNamespace", -1, "spec.quotas.tunnelsPerNamespace", "greater than or equal to 0"),
    ("Fleet", "tombstoneFor", "forever", "spec.tombstoneFor", "must match"),
    ("Fleet", "maxStaleness", "59s", "spec.maxStaleness", "between 1m and 720h"),
    ("Fleet", "maxStaleness", "721h", "spec.maxStaleness", "between 1m and 720h"),
    ("SubdomainReservation", "claimRef", REMOVED, "spec.claimRef", "is required"),
    ("SubdomainReservation", "claimRef.namespaceUID", REMOVED, "spec.claimRef.namespaceUID", "is required"),
    ("SubdomainReservation", "holderGeneration", 0, "spec.holderGeneration", "greater than or equal to 1"),
    ("SubdomainReservation", "boundAt", "yesterday", "spec.boundAt", "valid datetime"),
    ("SubdomainReservation", "boundAt", "2026-03-01T00:00:00", "spec.boundAt", "timezone"),
    ("SubdomainReservation", "expiresAt", "2026-03-01T00:00:00Z", "spec", "expiresAt belongs to a released name"),
    ("AgentToken", "expiry", {"type": "TTL"}, "spec.expiry", "ttl belongs to type TTL"),
    ("AgentToken", "expiry", {"type": "Never", "ttl": "1h"}, "spec.expiry", "ttl belongs to type TTL"),
    ("AgentToken", "expiry", {"type": "Time", "ttl": "1h"}, "spec.expiry", "time belongs to type Time"),
    ("AgentToken", "expiry", {"type": "TTL", "ttl": "59s"}, "spec.expiry.ttl", "between 1m and 87600h"),
    ("AgentToken", "uses", "Twice", "spec.uses", "must be one of 'Once' or 'Unlimited'"),
    ("AgentToken", "maxAgents", 0, "spec.maxAgents", "greater than or equal to 1"),
    ("AgentToken", "maxAgents", 101, "spec.maxAgents", "less than or equal to 100"),
    ("AgentSession", "agentID", "../x", "spec.agentID", "must match"),
    ("AgentSession", "tokenName", REMOVED, "spec.tokenName", "is required"),
]


ACCEPTED: list[tuple[str, str, Any]] = [
    ("AccessPolicy", "oidc", {"issuer": "https://id.example.com/realms/a-b/", "clientID": "c", "scopes": ["groups"]}),
    ("AccessPolicy", "oidc", {"issuer": "http://127.0.0.1:4000", "clientID": "c", "sessionLifetime": "24h"}),
    ("Tunnel", "access", {"policyRef": {"name": "staff", "namespace": "security"}}),
    ("Fleet", "accessDefaults", {"policyRef": {"name": "staff", "namespace": "security"}, "mode": "Required"}),
    ("AccessPolicy", "ipRanges", {"allow": ["10.0.0.0/8", "::/0"], "deny": ["10.1.2.3/32"]}),
    ("AccessPolicy", "apiKeys", {"secretRef": {"name": "keys"}, "header": "X-My-Key2"}),
    ("AccessPolicy", "authorization", {"rules": [{"name": "a", "claim": "https://x/y", "anyOf": ["b c"]}]}),
    ("AccessPolicy", "allowedNamespaces", {"from": "All"}),
    ("AccessPolicy", "jwt", [{"issuer": "a", "audiences": ["b"], "jwksURI": "https://a.example:8443/x?y=1"}]),
    ("Tunnel", "host.subdomain", "0-shop-9"),
    ("Tunnel", "host.subdomain", "s" * 63),
    ("Tunnel", "host", {"type": "Generated"}),
    ("Tunnel", "host", {"type": "Hostname", "hostname": "shop.xn--bcher-kva.example"}),
    ("Tunnel", "tls", {"certificateRef": {"name": "shop-tls"}}),
    ("Tunnel", "target.appProtocol", "H2C"),
    ("Tunnel", "target", {"type": "Service", "service": {"name": "web", "port": 8080}}),
    ("Tunnel", "target", {"type": "Service", "service": {"name": "web", "port": "http"}, "appProtocol": "H2C"}),
    ("Tunnel", "target", {"type": "URL", "url": "https://eu.example.com"}),
    ("Tunnel", "target", {"type": "URL", "url": "http://eu.example.com:65535"}),
    ("Tunnel", "target", {"type": "URL", "url": "https://[2606:4700::1111]:8443"}),
    ("Tunnel", "", tcp()),
    ("Tunnel", "", tcp(port=20017)),
    ("Tunnel", "", tcp(target={"type": "URL", "url": "tcp://db.example.com:5432"})),
    ("Tunnel", "", tcp(standby={"target": {"type": "URL", "url": "tcp://[2606:4700::1111]:5432"}})),
    ("Tunnel", "traffic", {}),
    ("Tunnel", "traffic.shield", {}),
    (
        "Tunnel",
        "traffic.shield",
        {"ttl": "2s", "staleIfError": "168h", "keyHeaders": ["Accept-Language"], "bypassCookies": ["__Host-sid"]},
    ),
    ("Tunnel", "standby", {"target": {"type": "URL", "url": "https://a.example"}, "failback": {"after": "0s"}}),
    ("Tunnel", "standby", {"target": {"type": "Agent", "agent": {"tokenRef": {"name": "spare"}}}}),
    ("Tunnel", "traffic.timeouts.request", "1h"),
    ("Tunnel", "traffic.maxConcurrent", 1),
    ("Tunnel", "suspend", True),
    ("ExitNode", "replicas", 0),
    ("ExitNode", "replicas", 3),
    ("ExitNode", "autoscaling", AUTO),
    ("ExitNode", "", autoscaled({"requests": {"cpu": "1"}})),
    ("ExitNode", "", autoscaled({"limits": {"cpu": 1}})),
    ("ExitNode", "", autoscaled({}, podTemplatePatch={"spec": {}})),
    ("ExitNode", "autoscaling", {"minReplicas": 2, "maxReplicas": 2, "targetConnections": 5_000}),
    ("ExitNode", "deployment", {"type": "Managed", "managed": {"podTemplatePatch": {"spec": {"anything": [1]}}}}),
    ("ExitNode", "deployment", {"type": "Managed", "managed": {"resources": {"limits": {"memory": "1Gi", "cpu": 2}}}}),
    ("ExitNode", "address", {"type": "Service", "service": {}}),
    ("ExitNode", "address", {"type": "Static", "static": {"ips": ["203.0.113.7", "2001:db8::7"]}}),
    ("ExitNode", "location", {"latitude": "-52.37", "longitude": "4.9"}),
    ("Tunnel", "placement", {"policy": "Failover", "regions": [{"name": "eu"}, {"name": "us", "weight": 0}]}),
    ("Fleet", "dns", {"type": "PowerDNS", "powerDNS": POWERDNS}),
    ("Fleet", "dns", {"type": "PowerDNS", "powerDNS": POWERDNS | {"nameservers": ["ns1.example.com"]}}),
    ("Fleet", "dns", {"type": "RFC2136", "rfc2136": {"server": "192.0.2.53", "tsigKeyRef": {"name": "dns"}}}),
    ("Fleet", "dns", {"type": "ExternalDNS", "externalDNS": {}}),
    ("Fleet", "dns", {"type": "None", "clientNetworks": [{"region": "eu", "cidrs": ["10.0.0.0/8", "2001:db8::/32"]}]}),
    ("Fleet", "tcpPorts", "20000-20999"),
    ("Fleet", "", {"tcpPorts": "65535-65535", "listeners": {"https": 8443}}),
    ("Fleet", "certificate", {"type": "Secret", "secret": {"name": "wildcard-tls"}}),
    ("Fleet", "allowedNamespaces", {"from": "Selector", "selector": {}}),
    ("Fleet", "reservedNames", []),
    ("Fleet", "proxyProtocol", {"mode": "Required", "trustedCIDRs": ["10.0.0.0/8", "2001:db8::/32"]}),
    ("Fleet", "targets", {"allowedCIDRs": ["10.20.0.0/16", "127.0.0.1/32", "fd00::/8", "0.0.0.0/0"]}),
    ("Fleet", "quotas", {"tunnelsPerNamespace": 0}),
    ("Fleet", "tombstoneFor", "0s"),
    ("Fleet", "maxStaleness", "1m"),
    ("Fleet", "maxStaleness", "720h"),
    ("SubdomainReservation", "releasedAt", "2026-03-01T00:00:00+02:00"),
    ("AgentToken", "expiry", {"type": "Never"}),
    ("AgentToken", "expiry", {"type": "Time", "time": "2027-01-01T00:00:00Z"}),
    ("AgentToken", "maxAgents", 100),
]


NAMES: list[tuple[str, str, bool]] = [
    # (kind, metadata.name, is accepted)
    ("Fleet", "f" * 40, True),
    ("Fleet", "f" * 41, False),
    ("Fleet", "1st", False),
    ("ExitNode", "eu-west-1", True),
    ("ExitNode", "eu.west", False),
    ("ExitNode", "eu-", False),
    ("AgentToken", "t" * 63, True),
    ("AgentToken", "t" * 64, False),
    ("SubdomainReservation", "shop.tunnels.example.com", True),
]
