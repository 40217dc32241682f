"""Errors of the operator: one class for each thing that a caller can do about it.

    OperatorError
    ├── SettingsError        the environment is wrong: print and exit 2
    ├── AuthorityError       the CA's Secret cannot be used: an administrator must act
    ├── DnsError             a DNS server's answer, translated by the providers in dns/ and nowhere else
    │   ├── DnsUnavailable   no answer in time, or 5xx: try later
    │   ├── DnsKeyRefused    401, 403, BADKEY, BADSIG: a person must mend the key
    │   └── DnsRefused       the server does not take the record or the zone: a person must mend its settings
    └── KubernetesError      the API server's answer, translated in k8s/client.py and nowhere else
        ├── NotFound         404: the object is gone, decide again without it
        ├── AlreadyExists    409 on create: somebody was faster, read and decide again
        ├── Conflict         409 on write: read again, decide again
        ├── Forbidden        401, 403: RBAC must be mended by a person
        ├── Invalid          400, 422: our object is refused; retrying changes nothing
        ├── Expired          410: a continued list is too old, start it again
        └── Unavailable      429, 5xx, network: try later

Called by every room of the operator. Nothing here imports anything.
"""


class OperatorError(Exception):
    """Base of everything the operator raises on purpose."""


class SettingsError(OperatorError):
    """The process cannot start as it was configured."""


class AuthorityError(OperatorError):
    """The CA that lies in the cluster cannot be used."""


class DnsError(OperatorError):
    """A DNS server did not do what was asked. The message names the server and what to change."""


class DnsUnavailable(DnsError):  # noqa: N818 - like its kin below
    """The server does not answer."""


class DnsKeyRefused(DnsError):  # noqa: N818
    """The server does not accept the operator's key."""


class DnsRefused(DnsError):  # noqa: N818
    """The server does not take what it is sent."""


class KubernetesError(OperatorError):
    """The API server did not do what was asked."""

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class NotFound(KubernetesError):  # noqa: N818 - named like the API's reasons
    """The object does not exist."""


class AlreadyExists(KubernetesError):  # noqa: N818
    """An object of this name exists."""


class Conflict(KubernetesError):  # noqa: N818
    """The object changed since it was read."""


class Forbidden(KubernetesError):  # noqa: N818
    """The operator's account may not do this."""


class Invalid(KubernetesError):  # noqa: N818
    """The API server refuses the object as it is."""


class Expired(KubernetesError):  # noqa: N818
    """The continuation of a list is too old."""


class Unavailable(KubernetesError):  # noqa: N818
    """The API server is busy or cannot be reached."""
