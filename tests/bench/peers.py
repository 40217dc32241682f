"""Configurations and processes of the peers: nginx, frp, rathole. Called by products.

Each is written as its manual says for such a use; docs/benchmarks.md tells the settings that matter.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hawse_agent.trial import processes
from hawse_agent.trial.processes import Process, Trial

ADDRESS = "127.0.0.1"
_KEPT_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A peer that carries TCP to the app."""

    port: int
    parts: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx for all its uses: only one of them is loaded at a time."""

    pids: Sequence[int]
    ports: Mapping[str, tuple[int, int]]
    """By product: http, https."""


def start_nginx(trial: Trial, program: Path, behind: Mapping[str, int]) -> Nginx:
    """Two listeners (plain, TLS) for each port behind; connections there are kept alive."""
    directory = _directory(trial, "nginx")
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_text(trial.fleet.wildcard.chain_pem)
    key.touch(mode=0o600)
    key.write_text(trial.fleet.wildcard.key_pem)
    ports = {name: (processes.free_port(ADDRESS, 0), processes.free_port(ADDRESS, 0)) for name in behind}
    hops = "".join(_nginx_hop(number, port, *ports[name]) for number, (name, port) in enumerate(behind.items()))
    file = directory / "nginx.conf"
    file.write_text(_nginx_conf(directory, chain, key, hops))
    process = _run(
        trial, "nginx", [str(program), "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(file)]
    )
    for http, https in ports.values():
        _wait(process, http)
        _wait(process, https)
    return Nginx([process.pid], ports)


def _nginx_conf(directory: Path, chain: Path, key: Path, hops: str) -> str:
    temporary = "".join(
        f"  {kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 65536;
pid {directory}/pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  proxy_max_temp_file_size 0;
{temporary}  ssl_certificate {chain};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:10m;
{hops}}}
"""


def _nginx_hop(number: int, port: int, http: int, https: int) -> str:
    return f"""  upstream app{number} {{
    server {ADDRESS}:{port};
    keepalive {_KEPT_CONNECTIONS};
    keepalive_requests 1000000000;
  }}
  server {{
    listen {ADDRESS}:{http} backlog=4096 reuseport;
    listen {ADDRESS}:{https} ssl http2 backlog=4096 reuseport;
    location / {{
      proxy_pass http://app{number};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
"""


def start_frp(trial: Trial, folder: Path, app_port: int) -> Tunnel:
    """frps and frpc with one tcp proxy, over TLS (frp's default)."""
    directory = _directory(trial, "frp")
    link, port = processes.free_port(ADDRESS, 0), processes.free_port(ADDRESS, 0)
    server, client = directory / "frps.toml", directory / "frpc.toml"
    server.write_text(f'bindAddr = "{ADDRESS}"\nbindPort = {link}\nproxyBindAddr = "{ADDRESS}"\nlog.level = "warn"\n')
    client.write_text(
        f'serverAddr = "{ADDRESS}"\nserverPort = {link}\nlog.level = "warn"\ntransport.poolCount = 5\n'
        f'[[proxies]]\nname = "app"\ntype = "tcp"\nlocalIP = "{ADDRESS}"\nlocalPort = {app_port}\nremotePort = {port}\n'
    )
    frps = _run(trial, "frps", [str(folder / "frps"), "-c", str(server)])
    _wait(frps, link)
    frpc = _run(trial, "frpc", [str(folder / "frpc"), "-c", str(client)])
    _wait(frpc, port)
    return Tunnel(port, {"server": [frps.pid], "agent": [frpc.pid]})


def start_rathole(trial: Trial, program: Path, app_port: int, *, noise: bool) -> Tunnel:
    """Server and client with one service: over plain TCP, or encrypted by the Noise protocol."""
    name = "rathole-noise" if noise else "rathole"
    directory = _directory(trial, name)
    link, port = processes.free_port(ADDRESS, 0), processes.free_port(ADDRESS, 0)
    private, public = _noise_keys(program) if noise else ("", "")
    server, client = directory / "server.toml", directory / "client.toml"
    server.write_text(
        f'[server]\nbind_addr = "{ADDRESS}:{link}"\ndefault_token = "bench"\n'
        + (
            f'[server.transport]\ntype = "noise"\n[server.transport.noise]\nlocal_private_key = "{private}"\n'
            if noise
            else ""
        )
        + f'[server.services.app]\nbind_addr = "{ADDRESS}:{port}"\n'
    )
    client.write_text(
        f'[client]\nremote_addr = "{ADDRESS}:{link}"\ndefault_token = "bench"\n'
        + (
            f'[client.transport]\ntype = "noise"\n[client.transport.noise]\nremote_public_key = "{public}"\n'
            if noise
            else ""
        )
        + f'[client.services.app]\nlocal_addr = "{ADDRESS}:{app_port}"\n'
    )
    running = _run(trial, f"{name}-server", [str(program), "--server", str(server)], RUST_LOG="warn")
    _wait(running, link)
    agent = _run(trial, f"{name}-client", [str(program), "--client", str(client)], RUST_LOG="warn")
    _wait(agent, port)
    return Tunnel(port, {"server": [running.pid], "agent": [agent.pid]})


def _noise_keys(program: Path) -> tuple[str, str]:
    said = subprocess.run([str(program), "--genkey"], capture_output=True, text=True, timeout=20, check=True).stdout
    words = re.findall(r"^[A-Za-z0-9+/=]{40,}$", said, re.MULTILINE)
    return words[0], words[1]


def _directory(trial: Trial, name: str) -> Path:
    made = trial.directory / name
    made.mkdir()
    return made


def _run(trial: Trial, name: str, argv: Sequence[str], **environment: str) -> Process:
    process = trial.process(name, argv, **environment)
    process.start()
    return process


def _wait(process: Process, port: int) -> None:
    """Until it listens. Reads the kernel's table: a connection would be a visitor."""
    wanted = f":{port:04X} "
    process.wait_until(
        lambda: any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()),
        f"it listens on port {port}",
    )
