r"""A WebSocket visitor in one file, with curl's manners: sends one message, prints what comes back.

    python scripts/demo/ws.py --cacert ca.crt --resolve shop.tunnels.localhost:8443:127.0.1.3 \
        wss://shop.tunnels.localhost:8443/ws hello

curl cannot speak WebSocket everywhere yet, and `*.localhost` does not resolve everywhere. Used by the demo itself.
"""

import argparse
import socket
import ssl
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import connect

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

    A refused handshake is an Echo with its status.

    Raises:
        OSError: no connection, or TLS failed.
        WebSocketException: the other side broke the protocol.
    """
    parts = urlsplit(url)
    with socket.create_connection((address, parts.port or 443), timeout=timeout_s) as sock:
        try:
            with connect(
                url,
                sock=sock,
                ssl=context,
                server_hostname=parts.hostname,
                open_timeout=timeout_s,
                close_timeout=2,
                proxy=None,
                compression=None,
            ) as socket_:
                socket_.send(message)
                answer = socket_.recv(timeout=timeout_s)
                response = socket_.response
                headers = {name.lower(): value for name, value in response.headers.raw_items()} if response else {}
                return Echo(response.status_code if response else 0, headers, str(answer))
        except InvalidStatus as exc:
            refused = exc.response
            return Echo(refused.status_code, {name.lower(): value for name, value in refused.headers.raw_items()}, "")


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
    except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as exc:
        sys.stderr.write(f"ws: {given.url} at {address}: {exc}\n")
        return 1
    sys.stdout.write(f"{echo.status} {echo.headers.get('x-hawse-served-by', '')}\n{echo.message}\n")
    return 0 if echo.status == 101 else 1


if __name__ == "__main__":
    sys.exit(main())
