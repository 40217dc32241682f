"""A real browser, Debian's Chromium without a window, driven by playwright-core in a process of its own.

with browser.running({"*.tunnels.localhost": "127.0.0.5"}) as chromium:
    page = chromium("open", url="https://shop.tunnels.localhost:8443/")
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pytest

from support import oidc_provider

STOP_TIMEOUT_S = 20


class Chromium(Protocol):
    """Runs one command of support/oidc/browser.mjs: its result."""

    def __call__(self, command: str, /, **given: Any) -> Any: ...


@contextlib.contextmanager
def running(hosts: Mapping[str, str]) -> Iterator[Chromium]:
    """Start it with these names leading to these addresses; skips the test where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: Debian's package chromium")
    script = oidc_provider.install("browser.mjs")
    rules = ", ".join(f"MAP {host} {address}" for host, address in hosts.items())
    command = ["node", str(script), json.dumps({"executablePath": program, "rules": rules})]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin
    assert process.stdout
    ask, answers = process.stdin, process.stdout

    def run(name: str, /, **given: Any) -> Any:
        ask.write(json.dumps({"command": name, **given}) + "\n")
        ask.flush()
        answer = json.loads(answers.readline() or '{"error": "the browser has ended"}')
        assert "error" not in answer, answer["error"]
        return answer["result"]

    try:
        run("fresh")
        yield run
    finally:
        ask.close()
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        answers.close()
