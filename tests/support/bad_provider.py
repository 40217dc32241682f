"""A provider of our own that signs whatever a test wants: for all that an honest one never does.

    async with BadProvider() as provider:
        provider.change = lambda claims: claims | {"aud": "somebody"}

Its authorization endpoint is the test, which knows state and nonce; it serves the token endpoint, keys and userinfo.
"""

import asyncio
import functools
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, Self

from aiohttp import web
from joserfc import jwk, jws

from hawse_api.ir import ir_pb2

CLIENT_ID = "hawse"


@functools.cache
def make_key(kid: str, number: int = 0) -> jwk.RSAKey:
    """RSA takes its time: once for each id and number."""
    return jwk.RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


Claims = dict[str, Any]


def bare_oidc(**changes: Any) -> ir_pb2.Oidc:
    """A provider that is never asked."""
    fields: dict[str, Any] = {
        "issuer": "https://id.example",
        "client_id": CLIENT_ID,
        "scopes": ["openid"],
        "authorization_endpoint": "https://id.example/auth",
        "token_endpoint": "https://id.example/token",
        "jwks_uri": "https://id.example/jwks",
    }
    return ir_pb2.Oidc(**(fields | changes))


class BadProvider:
    """Honest until a test changes something."""

    def __init__(self) -> None:
        self.key = make_key("one")
        self.published: list[jwk.Key] = [self.key]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        self.change: Callable[[Claims], Claims] = lambda claims: claims
        """Of the ID token."""
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        """Of the token endpoint."""
        self.userinfo: Claims = {"sub": "ada", "email": "ada@example.com"}
        self.nonce = ""
        self.status = 200
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked_again = asyncio.Event()
        self.asked: list[tuple[str, Mapping[str, str], Mapping[str, Any]]] = []
        """Path, header fields and form of each question."""
        self.issuer = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [web.post("/token", self._token), web.get("/jwks", self._jwks), web.get("/userinfo", self._userinfo)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.issuer = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.hold.set()
        await self._runner.cleanup()

    def oidc(self, **changes: Any) -> ir_pb2.Oidc:
        """As the operator would have discovered it."""
        fields: dict[str, Any] = {
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "scopes": ["openid"],
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end",
            "jwks": self.jwks(),
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_method": "client_secret_post",
        }
        return ir_pb2.Oidc(**(fields | changes))

    def jwks(self) -> bytes:
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.published]}).encode()

    def claims(self, **more: Any) -> Claims:
        now = int(time.time())
        return {"iss": self.issuer, "aud": CLIENT_ID, "sub": "ada", "iat": now, "exp": now + 300, **more}

    def sign(self, claims: Claims) -> str:
        """With the header that the test wants; "none" is not signed at all."""
        if self.header["alg"] == "none":
            parts = (json.dumps(part).encode() for part in (self.header, claims))
            return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        return jws.serialize_compact(self.header, json.dumps(claims), self.key, algorithms=[self.header["alg"]])

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.asked.append(("/token", request.headers.copy(), form))
        self.asked_again.set()
        await self.hold.wait()
        if self.status != 200:
            error = "invalid_grant" if self.status == 400 else "server_error"
            return web.json_response({"error": error}, status=self.status)
        nonce = {"nonce": self.nonce} if form["grant_type"] == "authorization_code" else {}
        token = self.sign(self.change(self.claims(**nonce)))
        answer = {"access_token": "at", "token_type": "Bearer", "id_token": token, "refresh_token": "rt-1"}
        return web.json_response(self.answer(answer))

    async def _jwks(self, request: web.Request) -> web.Response:
        self.asked.append(("/jwks", request.headers.copy(), {}))
        return web.Response(body=self.jwks(), content_type="application/json")

    async def _userinfo(self, request: web.Request) -> web.Response:
        self.asked.append(("/userinfo", request.headers.copy(), {}))
        return web.json_response(self.userinfo)
