r"""A WebSocket visitor in one file, with curl's manners: sends one message, prints what comes back.

    python scripts/demo/ws.py --cacert ca.crt --resolve shop.tunnels.localhost:8443:127.0.1.3 \
        wss://shop.tunnels.localhost:8443/ws hello

curl cannot speak WebSocket everywhere yet, and `*.localhost` does not resolve everywhere. Used by the demo itself.
"""

import argparse
import asyncio
import ssl
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.http11 import Response

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back."""

    status: int
    headers: dict[str, str]
    """In lower case."""
    message: str


def talk(url: str, message: str, *, address: str, context: ssl.SSLContext, timeout_s: float = TIMEOUT_S) -> Echo:
    """Connect to `address` with the URL's name as SNI and Host; send a message and wait for one.

    A refused handshake is an Echo with its status. On asyncio, because the library's threads use one TLS socket from
    two sides, which Python before 3.13 does not bear: about one handshake in 200 was lost.

    Raises:
        OSError: no connection, TLS failed, or it took too long (TimeoutError).
        WebSocketException: the other side broke the protocol.
    """
    return asyncio.run(_talk(url, message, address=address, context=context, timeout_s=timeout_s))


async def _talk(url: str, message: str, *, address: str, context: ssl.SSLContext, timeout_s: float) -> Echo:
    parts = urlsplit(url)
    try:
        async with (
            asyncio.timeout(timeout_s),
            connect(
                url,
                host=address,
                port=parts.port or 443,
                ssl=context,
                server_hostname=parts.hostname,
                proxy=None,
                compression=None,
                open_timeout=timeout_s,
                close_timeout=2,
            ) as connection,
        ):
            await connection.send(message)
            return _echo(connection.response, str(await connection.recv()))
    except InvalidStatus as exc:
        return _echo(exc.response, "")


def _echo(response: Response | None, message: str) -> Echo:
    if response is None:
        return Echo(0, {}, message)
    return Echo(response.status_code, {name.lower(): value for name, value in response.headers.raw_items()}, message)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Send one WebSocket message and print the answer.")
    parser.add_argument("url", help="wss://name:port/path")
    parser.add_argument("message", nargs="?", default="hello")
    parser.add_argument("--cacert", required=True, help="PEM file of the CA that vouches for the server")
    parser.add_argument("--resolve", required=True, metavar="NAME:PORT:ADDRESS", help="where to connect")
    given = parser.parse_args()
    address = given.resolve.split(":", 2)[-1]
    try:
        context = ssl.create_default_context(cafile=given.cacert)
        echo = talk(given.url, given.message, address=address, context=context)
    except (OSError, WebSocketException) as exc:
        sys.stderr.write(f"ws: {given.url} at {address}: {str(exc) or type(exc).__name__}\n")
        return 1
    sys.stdout.write(f"{echo.status} {echo.headers.get('x-hawse-served-by', '')}\n{echo.message}\n")
    return 0 if echo.status == 101 else 1


if __name__ == "__main__":
    sys.exit(main())
