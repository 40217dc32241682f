"""A token issuer on loopback: an https server that publishes its key set, and tokens that it signs.

Used by tests/integration/test_key_set_fetching.py and tests/cluster/test_access.py.
"""

import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

MUCH = 300 * 1024
KEY = ed25519.Ed25519PrivateKey.generate()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEY_SET = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": _text(KEY.public_key().public_bytes_raw())}]}


def token(issuer: str, *, key: ed25519.Ed25519PrivateKey = KEY, **claims: Any) -> str:
    """A token for ada, good for ten minutes."""
    said = {"iss": issuer, "aud": "shop", "sub": "ada", "exp": time.time() + 600, **claims}
    message = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "kid": "1"}, said))
    return f"{message}.{_text(key.sign(message.encode()))}"


class _Answers(BaseHTTPRequestHandler):
    """Keys, a redirect, an error, more than is taken."""

    def do_GET(self) -> None:
        match self.path:
            case "/keys":
                self._say(200, json.dumps(KEY_SET).encode())
            case "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/keys")
                self.end_headers()
            case "/much":
                self._say(200, b"x" * MUCH)
            case _:
                self._say(500, b"secret words of an internal server")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "issuer.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *form) + made.public_bytes(pem))
    return path


@contextlib.contextmanager
def issuing(pem: Path) -> Iterator[str]:
    """The address of an issuer that runs while inside."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
