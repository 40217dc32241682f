"""Exit codes and the place of the HAWSE code in a message."""

import pytest

from hawse_agent import errors
from hawse_api import names


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("NO_EXIT_NODE", 4), ("DRAINING", 4), ("OPERATOR_AWAY", 4), ("VERSION_MISMATCH", 1), ("SUPERSEDED", 1),
        ("REVOKED", 3), ("NOT_LOGGED_IN", 3), ("TOKEN_WRONG", 3), ("TOKEN_EXPIRED", 3), ("TOKEN_USED_UP", 3),
        ("CERTIFICATE_EXPIRED", 3), ("CERTIFICATE_REFUSED", 3), ("EXIT_NODE_UNTRUSTED", 3), ("SEVERAL_TUNNELS", 2),
        ("NO_TUNNEL", 2), ("CONFIG_UNREADABLE", 1),
    ],
)  # fmt: skip
def test_the_exit_code_of_a_hawse_code_is(name: str, exit_code: int) -> None:
    code = names.BY_NAME[name].code
    assert errors.exit_code_of(code) == exit_code
    assert errors.error_of(code, "x").exit_code == exit_code


@pytest.mark.parametrize(
    ("message", "code", "shown"),
    [
        ("It failed. Do this.", "HAWSE-2001", "It failed (HAWSE-2001). Do this."),
        ("It failed.", "HAWSE-2001", "It failed (HAWSE-2001)."),
        ("It failed (HAWSE-2001). Do this.", "HAWSE-2001", "It failed (HAWSE-2001). Do this."),
        ("It failed", "", "It failed"),
    ],
)
def test_the_code_stands_behind_what_failed(message: str, code: str, shown: str) -> None:
    assert errors.with_code(message, code) == shown


def test_an_agent_error_is_found_inside_nested_groups() -> None:
    inner = errors.NetworkError("no")
    group = BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [inner])])
    assert errors.inside(group) is inner
    assert errors.inside(BaseExceptionGroup("a", [ValueError()])) is None
