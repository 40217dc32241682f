"""Visitors: HTTP/1.1, HTTP/2, HTTP/3 and WebSocket clients that connect by address and name the tunnel by SNI and Host.

They verify the exit node's certificate against the fleet's CA. A visit never raises: what went wrong is its outcome.
Called by the steps.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import httpx
from websockets.exceptions import WebSocketException

from demo import http3, ws

_TIMEOUT_S = 10.0
_HOP_OF_CODE = {
    "HAWSE-1001": "operator → exit node: it knows no such tunnel",
    "HAWSE-1002": "exit node → agent: no agent is connected",
    "HAWSE-1003": "agent → app: the app refused the connection",
    "HAWSE-1004": "agent → app: the app did not answer in time",
    "HAWSE-1005": "agent → app: the app closed the connection",
    "HAWSE-1008": "operator → exit node: the tunnel is closed",
    "HAWSE-1013": "exit node → agent: the agent was lost",
}


class Protocol(Enum):
    """What a visitor speaks."""

    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"
    HTTP3 = "HTTP/3"
    WEBSOCKET = "WebSocket"


@dataclass(frozen=True, slots=True)
class Door:
    """Where visitors of the fleet come in."""

    region: str
    exit_node: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visitor saw."""

    door: Door
    protocol: Protocol
    status: int
    """0: no answer."""
    seconds: float
    served_by: str = ""
    error_code: str = ""
    spoken: str = ""
    """Protocol of the answer."""
    body: str = ""
    problem: str = ""

    @property
    def status_text(self) -> str:
        """Status with the HAWSE code behind it."""
        return f"{self.status or 'no answer'} {self.error_code}".strip()

    @property
    def cause(self) -> str:
        """Which hop failed, for a person."""
        if self.problem:
            return f"visitor → exit node {self.door.exit_node} ({self.door.address}:{self.door.port}): {self.problem}"
        return _HOP_OF_CODE.get(self.error_code, f"status {self.status_text}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who visits one hostname."""

    host: str
    port: int
    """Of the public URL: what Host says. A door may listen on another one."""
    ca: Path

    def visit(self, door: Door, protocol: Protocol) -> Visit:
        """One visit on a new connection."""
        context = ssl.create_default_context(cafile=self.ca)
        started = time.monotonic()
        try:
            if protocol is Protocol.HTTP3:
                return asyncio.run(self._fetch_over_quic(door, started))
            if protocol is Protocol.WEBSOCKET:
                return self._talk(door, context, started)
            with self._client(protocol, context) as client:
                started = time.monotonic()  # a visit is not the making of a client
                return self._fetch(client, door, protocol, started)
        except (OSError, httpx.HTTPError, WebSocketException) as exc:
            problem = str(exc) or type(exc).__name__
            return Visit(door, protocol, 0, time.monotonic() - started, problem=problem)

    def curl(self, door: Door, protocol: Protocol) -> str:
        """The same visit as a command to paste."""
        where = f"--cacert {self.ca} --resolve {self.host}:{door.port}:{door.address}"
        match protocol:
            case Protocol.HTTP1:
                return f"curl --http1.1 {where} https://{self.host}:{door.port}/"
            case Protocol.HTTP2:
                return f"curl --http2 {where} https://{self.host}:{door.port}/"
            case Protocol.HTTP3:
                return f"curl --http3-only {where} https://{self.host}:{door.port}/"
            case Protocol.WEBSOCKET:
                return f".venv/bin/python scripts/demo/ws.py {where} wss://{self.host}:{door.port}/ws hello"

    def _client(self, protocol: Protocol, context: ssl.SSLContext) -> httpx.Client:
        second = protocol is Protocol.HTTP2
        return httpx.Client(verify=context, http1=not second, http2=second, timeout=_TIMEOUT_S, trust_env=False)

    def _fetch(self, client: httpx.Client, door: Door, protocol: Protocol, started: float) -> Visit:
        answer = client.get(
            f"https://{door.address}:{door.port}/",
            headers={"Host": f"{self.host}:{self.port}", "Accept": "text/html"},
            extensions={"sni_hostname": self.host},
        )
        return Visit(
            door,
            protocol,
            answer.status_code,
            time.monotonic() - started,
            served_by=answer.headers.get("x-hawse-served-by", ""),
            error_code=answer.headers.get("x-hawse-error", ""),
            spoken=answer.http_version,
            body=answer.text,
        )

    async def _fetch_over_quic(self, door: Door, started: float) -> Visit:
        visitor = http3.connect(
            door.address, door.port, name=self.host, ca=self.ca, public_port=self.port, timeout_s=_TIMEOUT_S
        )
        async with visitor as client:
            answer = await client.request("GET", "/", headers=[("accept", "text/html")])
            seconds = time.monotonic() - started  # what follows is the goodbye
        return Visit(
            door,
            Protocol.HTTP3,
            answer.status,
            seconds,
            served_by=answer.headers.get("x-hawse-served-by", ""),
            error_code=answer.headers.get("x-hawse-error", ""),
            spoken=Protocol.HTTP3.value,
            body=answer.text,
        )

    def _talk(self, door: Door, context: ssl.SSLContext, started: float) -> Visit:
        echo = ws.talk(
            f"wss://{self.host}:{door.port}/ws",
            "hello",
            address=door.address,
            context=context,
            timeout_s=_TIMEOUT_S,
        )
        return Visit(
            door,
            Protocol.WEBSOCKET,
            echo.status,
            time.monotonic() - started,
            served_by=echo.headers.get("x-hawse-served-by", ""),
            error_code=echo.headers.get("x-hawse-error", ""),
            spoken=Protocol.WEBSOCKET.value,
            body=echo.message,
        )
