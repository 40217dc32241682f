"""What outlives a restart of the container: identity, configuration and its age, in HAWSE_STATE_DIR.

The directory is an emptyDir of medium Memory (design 0002, 10): it holds keys, so it must not be on a disk, and it goes
with the pod. Files are 0600, written whole and renamed over the old one; a checksum in the first line tells a torn or
changed file, which is ignored with a warning: the operator is asked then. Called by `supervisor`; blocking, so writes
run in a thread.
"""

import base64
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from hawse_api.ir import control_pb2, ir_pb2
from hawse_exitnode import keys
from hawse_exitnode.holdings import Held

logger = logging.getLogger(__name__)

IDENTITY_FILE = "identity.json"
CONFIGURATION_FILE = "configuration.json"
HEARD_FILE = "heard.json"
FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A configuration as it was kept."""

    term: int
    objects: Mapping[str, Held]
    materials: Sequence[control_pb2.Material] = field(repr=False)


class Store:
    """Reads and writes the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save_identity(self, identity: keys.NodeIdentity) -> None:
        """Replace the kept identity."""
        body = {
            "fleet": identity.fleet,
            "domain": identity.domain,
            "region": identity.region,
            "chain": [_text(der) for der in identity.chain],
            "key": _text(identity.key),
            "roots": [_text(der) for der in identity.roots],
            "resetSecret": _text(identity.reset_secret),
        }
        self._write(IDENTITY_FILE, body)

    def load_identity(self) -> keys.NodeIdentity | None:
        """The kept identity; None if there is none or it is not usable."""
        body = self._read(IDENTITY_FILE)
        if body is None:
            return None
        try:
            return keys.build_identity(
                fleet=str(body["fleet"]),
                domain=str(body["domain"]),
                region=str(body["region"]),
                chain=[_bytes(text) for text in body["chain"]],
                key=_bytes(body["key"]),
                roots=[_bytes(text) for text in body["roots"]],
                reset_secret=_bytes(body.get("resetSecret", "")),  # not in what older versions wrote
            )
        except (KeyError, TypeError, ValueError) as exc:
            self._ignored(IDENTITY_FILE, type(exc).__name__)
            return None

    def save_configuration(self, kept: Kept) -> None:
        """Replace the kept configuration."""
        objects = {
            key: [held.hash, _text(held.obj.SerializeToString(deterministic=True))]
            for key, held in kept.objects.items()
        }
        materials = [_text(material.SerializeToString(deterministic=True)) for material in kept.materials]
        self._write(CONFIGURATION_FILE, {"term": kept.term, "objects": objects, "materials": materials})

    def load_configuration(self) -> Kept | None:
        """The kept configuration; None if there is none or it is not usable."""
        body = self._read(CONFIGURATION_FILE)
        if body is None:
            return None
        try:
            objects = {
                str(key): Held(ir_pb2.Object.FromString(_bytes(text)), str(digest))
                for key, (digest, text) in body["objects"].items()
            }
            materials = [control_pb2.Material.FromString(_bytes(text)) for text in body["materials"]]
            return Kept(int(body["term"]), objects, materials)
        except (AttributeError, KeyError, TypeError, ValueError, DecodeError) as exc:
            self._ignored(CONFIGURATION_FILE, type(exc).__name__)
            return None

    def save_heard(self, heard_unix: float) -> None:
        """Replace the time of the operator's last word. Small: it is written every few seconds."""
        self._write(HEARD_FILE, {"heard": heard_unix})

    def load_heard(self) -> float | None:
        """When the operator was heard last, in Unix seconds; None if nobody knows."""
        body = self._read(HEARD_FILE)
        try:
            return None if body is None else float(body["heard"])
        except (KeyError, TypeError, ValueError) as exc:
            self._ignored(HEARD_FILE, type(exc).__name__)
            return None

    def forget(self) -> None:
        """Remove what was kept: it is another pod's, or the operator does not accept it any more."""
        for name in (IDENTITY_FILE, CONFIGURATION_FILE, HEARD_FILE):
            (self._directory / name).unlink(missing_ok=True)

    def _write(self, name: str, body: Mapping[str, Any]) -> None:
        payload = json.dumps({"format": FORMAT, **body}, separators=(",", ":")).encode()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = self._directory / f".{name}.new"
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._directory / name)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._directory / name
        try:
            if path.stat().st_size > MAX_BYTES:
                self._ignored(name, f"larger than {MAX_BYTES} bytes")
                return None
            digest, _, payload = path.read_bytes().partition(b"\n")
            if hashlib.sha256(payload).hexdigest().encode() != digest:
                self._ignored(name, "its checksum does not fit")
                return None
            body = json.loads(payload)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            self._ignored(name, type(exc).__name__)
            return None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            self._ignored(name, "written by another version")
            return None
        return body

    def _ignored(self, name: str, cause: str) -> None:
        """Causes are words of ours or names of classes: messages of parsers may quote key material."""
        logger.warning(
            "kept state is not usable and is ignored; the operator is asked instead",
            extra={"file": str(self._directory / name), "cause": cause},
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
