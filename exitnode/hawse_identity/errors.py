"""Errors of signing in: a class for each answer that a visitor may get.

    IdentityError               base; the message is for the visitor's page: it names no secret and quotes no token
    ├── SignInError             the visitor can begin anew: 400, HAWSE-1021
    ├── ProviderError           the provider does not answer as it should: 502, HAWSE-1022
    │   ├── TokenError          what it signed is not acceptable
    │   │   └── KeyUnknownError     its keys may have changed: they are fetched once more
    │   └── GrantRefusedError   it does not take this code or refresh token (any more)
    └── UnavailableError        this node lacks what it needs to know: 503, HAWSE-1020

Raised by the pure modules and by `provider_client`; caught in `server` alone, but for the two innermost.
"""


class IdentityError(Exception):
    """Base of everything this package raises on purpose."""


class SignInError(IdentityError):
    """This attempt is over; another one may succeed."""


class ProviderError(IdentityError):
    """The provider is at fault, or cannot be reached."""


class TokenError(ProviderError):
    """A token that must not be believed."""


class KeyUnknownError(TokenError):
    """No key that we know can have signed it."""


class GrantRefusedError(ProviderError):
    """The provider answered `invalid_grant`."""


class UnavailableError(IdentityError):
    """The configuration of this tunnel is not whole here."""
