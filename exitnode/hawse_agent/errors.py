"""Errors of the agent, by what the person at the keyboard can do; each ends the command with its exit code.

    AgentError                 1  something on this machine
    ├── UsageError           2  the command line or the config file asks for something that cannot be
    ├── AuthenticationError   3  the login, the token or the certificate is not good (any more)
    └── NetworkError          4  no exit node could be reached

A message is one or two lines: what failed, where, what to do. cli/ prints it behind "hawse: " and nothing else.
"""

from hawse_api import names

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_AUTHENTICATION = 3
EXIT_NETWORK = 4


class AgentError(Exception):
    """Something failed and the person who typed the command must know."""

    exit_code = EXIT_FAILURE

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        """Sentence with the HAWSE code behind its first part: "no login on this machine (HAWSE-2008). Log in: ..."."""
        return with_code(self.message, self.code)


class UsageError(AgentError):
    """What was asked for cannot be done; another command line would help."""

    exit_code = EXIT_USAGE


class AuthenticationError(AgentError):
    """The other side does not accept this login, or this side does not accept the exit node."""

    exit_code = EXIT_AUTHENTICATION


class NetworkError(AgentError):
    """No exit node answered."""

    exit_code = EXIT_NETWORK


_AUTHENTICATION = frozenset(
    names.BY_NAME[name].code
    for name in (
        "REVOKED",
        "NOT_LOGGED_IN",
        "NOT_ALLOWED",
        "EXIT_NODE_UNTRUSTED",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REFUSED",
        "TOKEN_MALFORMED",
        "TOKEN_WRONG",
        "TOKEN_REVOKED",
        "TOKEN_EXPIRED",
        "TOKEN_USED_UP",
        "TOO_MANY_AGENTS",
        "CLOCK_SKEW",
        "TOO_MANY_ATTEMPTS",
        "EXIT_NODE_REFUSED",
        "BAD_CSR",
    )
)
_NETWORK = frozenset(names.BY_NAME[name].code for name in ("NO_EXIT_NODE", "DRAINING", "OPERATOR_AWAY"))
_USAGE = frozenset(names.BY_NAME[name].code for name in ("NO_TUNNEL", "SEVERAL_TUNNELS"))


def exit_code_of(code: str) -> int:
    """Exit code of the command that ends with this HAWSE code."""
    if code in _AUTHENTICATION:
        return EXIT_AUTHENTICATION
    if code in _NETWORK:
        return EXIT_NETWORK
    if code in _USAGE:
        return EXIT_USAGE
    return EXIT_FAILURE


def error_of(code: str, message: str) -> AgentError:
    """The error of the right class for a HAWSE code that another process gave."""
    match exit_code_of(code):
        case 3:
            return AuthenticationError(message, code=code)
        case 4:
            return NetworkError(message, code=code)
        case 2:
            return UsageError(message, code=code)
        case _:
            return AgentError(message, code=code)


def inside(group: BaseExceptionGroup[BaseException]) -> AgentError | None:
    """The first AgentError of a TaskGroup's group, or None: a group is no message for anybody."""
    for error in group.exceptions:
        found = inside(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, AgentError):
            return found
    return None


def with_code(message: str, code: str) -> str:
    """Put the code behind the first sentence of the message, unless it is named in it already."""
    if not code or code in message:
        return message
    head, separator, tail = message.partition(". ")
    if not separator:
        return f"{message.rstrip('.')} ({code})."
    return f"{head} ({code}). {tail}"
