"""What `make demo` was asked for: environment in, frozen settings out. Pure. Called by __main__ only.

HAWSE_DEMO_CHECK and HAWSE_DEMO_KIND come from make's CHECK and KIND; KUBECONFIG names an existing cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from demo.errors import DemoError

_NO = frozenset({"", "0", "no", "false"})
_YES = frozenset({"1", "yes", "true"})


class Place(Enum):
    """Where the cluster comes from."""

    EMBEDDED = "embedded"
    EXISTING = "existing"
    KIND = "kind"


@dataclass(frozen=True, slots=True)
class Images:
    """Of an existing cluster: where it can pull our images from."""

    operator: str
    exitnode: str


@dataclass(frozen=True, slots=True)
class Settings:
    """One run of the demo."""

    root: Path
    """The repository."""
    bin: Path
    """Programs of the Python environment."""
    check: bool
    """End after step 8."""
    place: Place
    kind_name: str
    """Of a kind cluster that exists; "": one of the demo's own."""
    kubeconfig: Path | None
    images: Images | None
    app_port: int
    https_port: int
    """On 127.0.0.1, for a browser."""


def read_settings(environment: Mapping[str, str], *, root: Path, programs: Path) -> Settings:
    """Read the environment.

    Raises:
        DemoError: something in it cannot be.
    """
    asked = environment.get("HAWSE_DEMO_KIND", "")
    kind = asked not in _NO
    kubeconfig = environment.get("KUBECONFIG", "")
    place = Place.KIND if kind else Place.EXISTING if kubeconfig else Place.EMBEDDED
    return Settings(
        root=root,
        bin=programs,
        check=environment.get("HAWSE_DEMO_CHECK", "") not in _NO,
        place=place,
        kind_name="" if asked in _NO | _YES else asked,
        kubeconfig=_kubeconfig(kubeconfig) if place is Place.EXISTING else None,
        images=_images(environment) if place is Place.EXISTING else None,
        app_port=_port(environment, "HAWSE_DEMO_APP_PORT", 3000),
        https_port=_port(environment, "HAWSE_DEMO_HTTPS_PORT", 8443),
    )


def _kubeconfig(text: str) -> Path:
    path = Path(text).expanduser()
    if ":" in text:
        raise DemoError("settings", f"KUBECONFIG lists several files ({text})", fix="name one file")
    if not path.is_file():
        raise DemoError(
            "settings", f"KUBECONFIG names {text}, which is no file", fix="unset KUBECONFIG to use the embedded cluster"
        )
    return path.absolute()


def _images(environment: Mapping[str, str]) -> Images:
    operator, exitnode = environment.get("HAWSE_OPERATOR_IMAGE", ""), environment.get("HAWSE_EXITNODE_IMAGE", "")
    if not operator or not exitnode:
        raise DemoError(
            "settings",
            "KUBECONFIG is set, so the demo uses that cluster, and its nodes must be able to pull our two images",
            fix="build and push them (docs/demo.md), then name them: HAWSE_OPERATOR_IMAGE=registry/hawse-operator:tag"
            " HAWSE_EXITNODE_IMAGE=registry/hawse-exitnode:tag; or unset KUBECONFIG to use the embedded cluster",
        )
    return Images(operator, exitnode)


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "") or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise DemoError(
            "settings", f"{name}={text} is no port", fix=f"use a number between 1 and 65535, e.g. {default}"
        )
    return int(text)
