"""Errors of the exit node: a class for each thing a caller can do about it.

    ExitNodeError                 base; the message says what failed, where, and what to do
    ├── UsageError                environment, arguments or the static file are wrong: exit code 2
    ├── StartError                this machine does not let it start (port in use): exit code 1
    └── OperatorError             no answer of use from the operator: tried again with back-off
        ├── OperatorUnreachableError   nobody answered, or TLS failed
        └── OperatorRefusedError       it answered no: somebody has to act, and it is still tried again

Caught in `__main__` (the first two) and where the operator is called.
"""


class ExitNodeError(Exception):
    """Base of everything this package raises on purpose."""


class UsageError(ExitNodeError):
    """What was configured cannot be used."""


class StartError(ExitNodeError):
    """The process cannot start here."""


class OperatorError(ExitNodeError):
    """The operator gave no answer of use."""


class OperatorUnreachableError(OperatorError):
    """Nobody answered, or TLS failed."""


class OperatorRefusedError(OperatorError):
    """The operator says no."""
