"""The chart's name server as its pod starts it: configuration and script of charts/hawse/files."""

from pathlib import Path

import yaml

from support import powerdns

ROOT = Path(__file__).parents[3]


def test_it_starts_answers_lua_records_and_keeps_its_zone_over_a_restart(tmp_path: Path) -> None:
    with powerdns.running(tmp_path) as server:
        settings = {item["name"]: item["value"] for item in server.api("GET", "/config").json()}
        assert (settings["enable-lua-records"], settings["edns-subnet-processing"]) == ("shared", "yes")
        assert settings["cache-ttl"] == settings["query-cache-ttl"] == settings["negquery-cache-ttl"] == "0"
        zone = {"name": "t.example.com.", "kind": "Native", "nameservers": ["ns1.example.net."]}
        assert server.api("POST", "/zones", zone).status_code == 201
        server.put("t.example.com", "a.t.example.com", "LUA", "A \";return '192.0.2.' .. (3 + 4)\"")
        server.stop()
        server.start()
        assert server.addresses("a.t.example.com") == ["192.0.2.7"]


def test_its_key_is_in_a_file_that_nobody_else_reads_and_in_no_argument(tmp_path: Path) -> None:
    with powerdns.running(tmp_path, key="a-secret-key") as server:
        assert server.api("GET", "").status_code == 200
        written = tmp_path / "run" / "conf.d" / "key.conf"
        assert written.read_text() == "api-key=a-secret-key\n"
        assert written.stat().st_mode & 0o077 == 0
        assert "a-secret-key" not in server.command_line()
        server.key = "another"
        assert server.api("GET", "").status_code == 401


def test_paths_of_the_configuration_are_those_that_the_pod_mounts() -> None:
    golden = (ROOT / "tests/golden/charts/embedded_dns.out.yaml").read_text()
    (pod,) = [body for body in yaml.safe_load_all(golden) if body and body["kind"] == "StatefulSet"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    config = (ROOT / "charts/hawse/files/pdns.conf").read_text()
    paths = [line.partition("=")[2] for line in config.splitlines() if line.partition("=")[2].startswith("/")]
    assert len(paths) == 2
    assert all(any(path.startswith(mount) for mount in mounts) for path in paths)
    assert {port["containerPort"] for port in container["ports"]} == {5353, 8081}
