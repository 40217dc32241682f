"""npm's `oidc-provider` (certified by the OpenID Foundation) as a process on loopback.

    with oidc_provider.running(clients=[…]) as provider:
        provider.issuer

Installed once from its lock file into ~/.cache/hawse. Without Node or its packages the tests are skipped, saying so.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from hawse_api.ir import ir_pb2

FILES = Path(__file__).parent / "oidc"
INSTALL_TIMEOUT_S = 240
START_TIMEOUT_S = 40
CLIENT_ID = "hawse"


@dataclass(frozen=True, slots=True)
class Running:
    """One provider."""

    issuer: str
    log: Path

    def oidc(self, **changes: Any) -> ir_pb2.Oidc:
        """As the operator discovers it."""
        found = httpx.get(f"{self.issuer}/.well-known/openid-configuration", timeout=10).json()
        jwks = httpx.get(found["jwks_uri"], timeout=10).content
        fields: dict[str, Any] = {
            "issuer": found["issuer"],
            "client_id": CLIENT_ID,
            "scopes": ["openid", "email", "groups", "offline_access"],
            "authorization_endpoint": found["authorization_endpoint"],
            "token_endpoint": found["token_endpoint"],
            "end_session_endpoint": found["end_session_endpoint"],
            "userinfo_endpoint": found["userinfo_endpoint"],
            "jwks": jwks,
            "jwks_uri": found["jwks_uri"],
            "token_endpoint_auth_method": "client_secret_basic",
            "session_lifetime_ms": 12 * 3600 * 1000,
        }
        return ir_pb2.Oidc(**(fields | changes))


@contextlib.contextmanager
def running(directory: Path, clients: Sequence[Mapping[str, Any]], **settings: Any) -> Iterator[Running]:
    """Start one; it ends with the context."""
    script = install("provider.mjs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / "oidc-provider.log"
    command = ["node", str(script), json.dumps({"port": port, "clients": list(clients), **settings})]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"listening on" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Running(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(timeout=10)


class Person:
    """Somebody before the provider's forms, with the provider's cookies."""

    def __init__(self, login: str) -> None:
        self.login = login
        self._http = httpx.Client(timeout=20, limits=httpx.Limits(max_keepalive_connections=0))

    def sign_in(self, url: str) -> str:
        """Go to the provider and fill in what it shows, until it leads away: to where."""
        return self._walk(self._http.get(url))

    def sign_out(self, url: str) -> str:
        """The same with the question whether to sign out."""
        answer = self._http.get(url)
        action, fields = _form(answer)
        return self._walk(self._http.post(urljoin(str(answer.url), action), data={**fields, "logout": "yes"}))

    def is_asked_to_sign_in(self, url: str) -> bool:
        """Whether the provider has forgotten them."""
        return 'name="login"' in self._http.get(url, follow_redirects=True).text

    def _walk(self, answer: httpx.Response) -> str:
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if not target.startswith("http://127.0.0.1"):
                    return target
                answer = self._http.get(target)
                continue
            assert answer.status_code == 200, answer.text
            if answer.url.path.startswith("/session/end/success"):
                return str(answer.url)
            action, fields = _form(answer)
            if "login" in fields:
                fields |= {"login": self.login, "password": "any"}
            answer = self._http.post(urljoin(str(answer.url), action), data=fields)
        raise AssertionError("the provider asks without end")


def _form(answer: httpx.Response) -> tuple[str, dict[str, str]]:
    action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
    assert action, answer.text
    fields = {}
    for tag in re.findall(r"<input[^>]*>", answer.text):
        if name := re.search(r'name="([^"]+)"', tag):
            value = re.search(r'value="([^"]*)"', tag)
            fields[name[1]] = unescape(value[1]) if value else ""
    return unescape(action[1]), fields


def install(name: str) -> Path:
    """A script of support/oidc beside the packages that it needs; skips the test if they cannot be had."""
    source, modules = FILES / name, _installed()
    script = modules.parent / f"{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}-{name}"
    if not script.exists():
        scratch = script.with_suffix(f".{os.getpid()}")
        shutil.copy(source, scratch)
        scratch.replace(script)
    return script


def _installed() -> Path:
    """node_modules of the lock file, installed once per lock file."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node and npm: Debian's nodejs and npm")
    lock = (FILES / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hawse/oidc-provider"
    home = cache / hashlib.sha256(lock).hexdigest()[:16]
    modules = home / "node_modules"
    if modules.is_dir():
        return modules
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FILES / name, scratch)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        if done.returncode:
            pytest.skip(f"npm cannot install oidc-provider: {done.stderr[-300:]}")
        with contextlib.suppress(OSError):  # another test run was faster
            home.mkdir(exist_ok=True)
            (Path(scratch) / "node_modules").rename(modules)
    return modules
