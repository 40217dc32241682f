"""Errors of hawse_tunnel: a class for each thing a caller can do about it, one place that makes them from codes.

    TunnelError                 base; `code` is "HAWSE-nnnn" or None, `message` is for people
    ├── CoreClosedError         the core was closed, or died: start a new one
    ├── ListenError             the address cannot be listened on: another port, or end the other program (HAWSE-2013)
    ├── RejectedError           an identity, option or object is not usable: correct it
    └── DialError               no link to that exit node
        ├── UnreachableError    try another address, or later (HAWSE-2001)
        ├── UntrustedError      the exit node could not prove its name: do not go on without a person (HAWSE-2011)
        ├── VersionError        one side must be updated (HAWSE-2002)
        └── CertificateError    the exit node does not accept our certificate: renew or enrol again (HAWSE-2014, -2016)

The Rust core reports "<HAWSE code> <text>"; `from_report` is the only reader of that form. Called by core.py; caught by
hawse_exitnode and hawse_agent.
"""

from hawse_api import names


class TunnelError(Exception):
    """Base of everything this package raises on purpose."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(f"{message} ({code})" if code else message)
        self.message = message
        self.code = code


class CoreClosedError(TunnelError):
    """The core was closed or died."""


class ListenError(TunnelError):
    """The address cannot be listened on."""


class RejectedError(TunnelError):
    """An argument is well-formed but not usable; the message says which and why."""


class DialError(TunnelError):
    """There is no link to that exit node."""


class UnreachableError(DialError):
    """Nobody answered, or the network said no."""


class UntrustedError(DialError):
    """The exit node could not prove who it is."""


class VersionError(DialError):
    """The exit node speaks no common version of the protocol."""


class CertificateError(DialError):
    """The exit node does not accept the certificate that we showed."""


_BY_CODE: dict[str, type[TunnelError]] = {
    names.BY_NAME["NO_EXIT_NODE"].code: UnreachableError,
    names.BY_NAME["VERSION_MISMATCH"].code: VersionError,
    names.BY_NAME["EXIT_NODE_UNTRUSTED"].code: UntrustedError,
    names.BY_NAME["PORT_IN_USE"].code: ListenError,
    names.BY_NAME["CERTIFICATE_EXPIRED"].code: CertificateError,
    names.BY_NAME["CERTIFICATE_REFUSED"].code: CertificateError,
}


def from_report(report: str, otherwise: type[TunnelError]) -> TunnelError:
    """Make the error of a "<HAWSE code> <text>" report; without a code, or with another one, it is an `otherwise`."""
    code, _, text = report.partition(" ")
    if code not in names.BY_CODE:
        return otherwise(report)
    return _BY_CODE.get(code, otherwise)(text, code)
