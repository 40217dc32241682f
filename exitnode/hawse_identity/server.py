"""HTTP/1.1 on a unix socket, for the edge alone: it passes `/.hawse/…` on and asks for renewals.

The edge says which tunnel a request is for (X-Hawse-Tunnel; whatever visitors send under that name never gets here).
Errors become pages for people, in the style of the edge's. Started by the exit node's supervisor.
"""

import asyncio
import contextlib
import html
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hawse_api import names
from hawse_identity import cookies
from hawse_identity.errors import IdentityError, ProviderError, SignInError, TokenError
from hawse_identity.service import Answer, Service, Visit
from hawse_identity.sites import Configuration, Site, build_site

logger = logging.getLogger(__name__)

TUNNEL = "X-Hawse-Tunnel"
REQUEST_ID = "X-Hawse-Request-Id"
MAX_LINE_BYTES = 16 * 1024
"""A callback's code and state; the edge bounds them too."""
MAX_FIELD_BYTES = 48 * 1024
"""All cookies of a request are one field."""
MAX_BODY_BYTES = 64 * 1024
"""A logout token in a form."""
ANSWER_TIMEOUT_S = 25.0
"""For a whole request: two questions to the provider."""
STOP_TIMEOUT_S = 5.0

_SIGN_IN_FAILED = names.BY_NAME["SIGN_IN_FAILED"]
_PROVIDER_FAILED = names.BY_NAME["PROVIDER_FAILED"]
_UNAVAILABLE = names.BY_NAME["ACCESS_UNAVAILABLE"]
_SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Pages:
    """What people see."""

    errors: Mapping[str, bytes]
    """HAWSE code -> page with the slots {host}, {request_id} and {detail}."""
    signed_out: bytes
    """With the slot {host}."""


@contextlib.asynccontextmanager
async def serve(socket: Path, service: Service, configuration: Configuration, pages: Pages) -> AsyncIterator[None]:
    """Listen while the context is entered. The socket's directory has to be private."""
    runner = web.AppRunner(
        build_app(service, configuration, pages),
        access_log=None,
        shutdown_timeout=STOP_TIMEOUT_S,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
    )
    await runner.setup()
    try:
        await web.UnixSite(runner, socket).start()
        yield
    finally:
        await runner.cleanup()


def build_app(service: Service, configuration: Configuration, pages: Pages) -> web.Application:
    """The routes (docs/design/0005-edge.md §3)."""

    def visit(request: web.Request) -> Visit:
        return Visit(_site(request, configuration), cookies.read(request.headers.getall("Cookie", ())), request.query)

    async def login(request: web.Request) -> web.StreamResponse:
        return _respond(service.login(visit(request)))

    async def callback(request: web.Request) -> web.StreamResponse:
        return _respond(await service.callback(visit(request)))

    async def logout(request: web.Request) -> web.StreamResponse:
        answer = service.logout(visit(request))
        if answer.location:
            return _respond(answer)
        page = pages.signed_out.replace(b"{host}", html.escape(request.host).encode())
        return _respond(answer, body=page, content_type="text/html")

    async def backchannel_logout(request: web.Request) -> web.StreamResponse:
        token = (await request.post()).get("logout_token")
        try:
            await service.backchannel_logout(_site(request, configuration), token if isinstance(token, str) else "")
        except TokenError as exc:
            logger.warning("a logout token was refused", extra={"host": request.host, "cause": str(exc)})
            body = json.dumps({"error": "invalid_request", "error_description": str(exc)}).encode()
            return _respond(Answer(400), body=body, content_type="application/json")
        return _respond(Answer(200))

    async def refresh(request: web.Request) -> web.StreamResponse:
        return _respond(await service.refresh(visit(request)))

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_build_rescue(service, pages)])
    app.add_routes(
        [
            web.get("/.hawse/login", login),
            web.get("/.hawse/callback", callback),
            web.get("/.hawse/logout", logout),
            web.post("/.hawse/logout", logout),
            web.post("/.hawse/backchannel-logout", backchannel_logout),
            web.post("/internal/refresh", refresh),
        ]
    )
    return app


def _site(request: web.Request, configuration: Configuration) -> Site:
    return build_site(configuration, request.headers.get(TUNNEL, ""))


def _respond(answer: Answer, *, body: bytes = b"", content_type: str = "text/plain") -> web.Response:
    response = web.Response(status=answer.status, body=body, headers=_SAFE, content_type=content_type)
    if answer.location:
        response.headers["Location"] = answer.location
    for field in answer.set_cookies:
        response.headers.add("Set-Cookie", field)
    return response


def _build_rescue(service: Service, pages: Pages) -> Middleware:
    @web.middleware
    async def rescue(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await handler(request)
        except IdentityError as exc:
            error, outcome = _code_of(exc)
            cause = str(exc)
        except TimeoutError:
            error, outcome, cause = _PROVIDER_FAILED, "provider_failed", "the provider took too long"
        service.outcomes[outcome] += 1
        log = logger.info if error is _SIGN_IN_FAILED else logger.warning
        log("a visitor could not sign in", extra={"host": request.host, "code": error.code, "cause": cause})
        slots = {"host": request.host, "request_id": request.headers.get(REQUEST_ID, "-"), "detail": cause}
        page = pages.errors[error.code]
        for name, text in slots.items():
            page = page.replace(f"{{{name}}}".encode(), html.escape(text).encode())
        response = _respond(Answer(error.status), body=page, content_type="text/html")
        response.headers["X-Hawse-Error"] = error.code
        return response

    return rescue


def _code_of(exc: IdentityError) -> tuple[names.ErrorCode, str]:
    match exc:
        case SignInError():
            return _SIGN_IN_FAILED, "refused"
        case ProviderError():
            return _PROVIDER_FAILED, "provider_failed"
        case _:
            return _UNAVAILABLE, "unavailable"
