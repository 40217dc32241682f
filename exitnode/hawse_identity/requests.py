"""What is asked of a provider: addresses for the browser, forms for its token endpoint. Pure.

Called by `service`; sent by `provider_client`.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from hawse_identity.flows import Flow
from hawse_identity.sites import LOGOUT, Site

BASIC = "client_secret_basic"
POST = "client_secret_post"


@dataclass(frozen=True, slots=True)
class Form:
    """One POST to the token endpoint."""

    url: str
    fields: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def authorization_url(site: Site, flow: Flow) -> str:
    """Where the browser goes to sign in (Core, 3.1.2.1; RFC 7636)."""
    return _with_query(
        site.provider.authorization_endpoint,
        {
            "response_type": "code",
            "client_id": site.provider.client_id,
            "redirect_uri": site.redirect_uri,
            "scope": " ".join(dict.fromkeys(["openid", *site.provider.scopes])),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        },
    )


def code_form(site: Site, flow: Flow, code: str) -> Form:
    """Trade the code for tokens."""
    return _form(
        site,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": site.redirect_uri,
            "code_verifier": flow.verifier,
        },
    )


def refresh_form(site: Site, refresh_token: str) -> Form:
    """Trade a refresh token for newer tokens (Core, 12)."""
    return _form(site, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def logout_url(site: Site, id_token: str) -> str:
    """Where the browser signs out at the provider (RP-Initiated Logout 1.0); empty: it has no such place."""
    if not site.provider.end_session_endpoint:
        return ""
    hint = {"id_token_hint": id_token} if id_token else {}
    fields = {**hint, "client_id": site.provider.client_id, "post_logout_redirect_uri": site.origin + LOGOUT}
    return _with_query(site.provider.end_session_endpoint, fields)


def _form(site: Site, fields: Mapping[str, str]) -> Form:
    client_id, secret = site.provider.client_id, site.client_secret
    method = site.provider.token_endpoint_auth_method or (BASIC if secret else "none")
    url = site.provider.token_endpoint
    if method == BASIC:  # both parts are form-encoded before (RFC 6749, 2.3.1)
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        return Form(url, fields, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"})
    own = {"client_id": client_id} | ({"client_secret": secret} if method == POST else {})
    return Form(url, {**fields, **own}, {})


def _with_query(url: str, fields: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
