"""The command line as far as it goes without a network: usage, exit codes, no traceback."""

import datetime as dt
import io
import json
import stat
import sys
from pathlib import Path

import pytest

from hawse_agent import __main__ as program
from hawse_agent import cli, credentials
from hawse_agent.trial import fleet

TRACEBACK = "Traceback"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAWSE_CONFIG_DIR", str(tmp_path / "hawse"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return tmp_path / "hawse"


def run(*arguments: str) -> int:
    return program.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Usage"),
        (("nope",), 2, "No such command 'nope'"),
        (("http",), 2, "Missing argument 'APP'"),
        (("http", "--nope", "3000"), 2, "No such option"),
        (("http", "nowhere"), 2, "is not a place where an app listens"),
        (("http", "3000", "--connect-timeout", "0"), 2, "--connect-timeout"),
        (("http", "3000"), 3, "HAWSE-2008"),
        (("start",), 2, "no config file"),
        (("login",), 2, "no terminal to ask on"),
        (("login", "hwt1.secret"), 2, "not taken from the command line"),
        (("login", "-"), 3, "HAWSE-3001"),
        (("login", "-", "--token-file", "x"), 2, "give the token once"),
        (("login", "--token-file", "missing"), 2, "does not exist"),
        (("status",), 3, "HAWSE-2008"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_command_line_ends_with(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert run(*arguments) == code
    shown = capsys.readouterr()
    assert says in shown.err
    assert TRACEBACK not in shown.err
    assert "hwt1.secret" not in shown.err


def test_version_names_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version") == 0
    assert capsys.readouterr().out.startswith("hawse ")


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "hawse http 3000" in capsys.readouterr().out


def test_status_shows_the_login(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    login = fleet.build_login(
        fleet.make_fleet("tunnels.example.com", _now()), {"203.0.113.7:7443": 8443}, agent_id="a1"
    )
    credentials.save(home, login, lambda _: None)
    assert run("status") == 0
    shown = capsys.readouterr().out
    assert "tunnels.example.com, token default/laptop" in shown
    assert "none running" in shown
    assert run("status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["login"]["exit_nodes"] == ["203.0.113.7:7443"]
    assert "PRIVATE" not in json.dumps(found)


def test_an_expired_login_is_told_by_status_and_http(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fleet.make_fleet("tunnels.example.com", _now())
    login = fleet.build_login(made, {"203.0.113.7:7443": 8443}, agent_id="a1", life=-dt.timedelta(minutes=30))
    credentials.save(home, login, lambda _: None)
    assert run("status") == 3
    assert run("http", "3000") == 3
    shown = capsys.readouterr().err
    assert shown.count("expired 30 min") == 2
    assert shown.count("ago (HAWSE-2014). Log in again: hawse login -") == 2


def test_logout_removes_the_login(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    login = fleet.build_login(
        fleet.make_fleet("tunnels.example.com", _now()), {"203.0.113.7:7443": 8443}, agent_id="a1"
    )
    credentials.save(home, login, lambda _: None)
    assert run("logout") == 0
    assert run("logout") == 0
    assert run("status") == 3
    assert "there was no login" in capsys.readouterr().out


def test_what_nobody_expected_is_one_line_and_a_private_file(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the details")

    monkeypatch.setattr(cli.hawse, "main", burst)
    assert run("version") == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "ZeroDivisionError" in shown
    assert "the details" not in shown
    (log,) = (home / "logs").iterdir()
    assert TRACEBACK in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
