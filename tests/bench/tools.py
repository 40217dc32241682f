"""What the benchmark builds or finds: loader, release core, peers. Called by __main__ and the smoke test.

Peers come from their registries by the ordinary clients, pinned, and are kept in ~/.cache/hawse/bench. One that cannot
be had is named in the report as missing; nothing is put in its place.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FRP, RATHOLE = "0.65.0", "0.5.0"
APT_PACKAGES = ("nginx-light", "libnginx-mod-stream", "nghttp2-client")
_BUILD_S = 1800.0
_GO_MODULE = f"""module hawse-bench-peers

go 1.24

require github.com/fatedier/frp v{FRP}
"""
_GO_IMPORTS = """//go:build tools

package peers

import (
	_ "github.com/fatedier/frp/cmd/frpc"
	_ "github.com/fatedier/frp/cmd/frps"
)
"""


class MissingError(Exception):
    """A tool cannot be had here; the message says why."""


def cache() -> Path:
    """Where built tools stay."""
    base = os.environ.get("XDG_CACHE_HOME")
    made = (Path(base) if base else Path.home() / ".cache") / "hawse" / "bench"
    made.mkdir(parents=True, exist_ok=True)
    return made


def loader() -> Path:
    """Our load generator, built once for each state of its sources."""
    crate = Path(__file__).parent / "loader"
    digest = hashlib.sha256()
    for source in (crate / "Cargo.toml", crate / "Cargo.lock", *sorted((crate / "src").glob("*.rs"))):
        digest.update(source.read_bytes())
    kept = cache() / f"loader-{digest.hexdigest()[:16]}"
    if not kept.exists():
        target = cache() / "loader-target"
        _build(["cargo", "build", "-q", "--locked", "--release"], crate, CARGO_TARGET_DIR=str(target))
        shutil.copy2(target / "release" / "hawse-bench-loader", kept)
    return kept


def release_overlay() -> Path:
    """A folder for PYTHONPATH: hawse_tunnel with a core of the release profile. The environment's own stays."""
    hook = _build_hook()
    library = hook.cached_core(ROOT / hook.CRATE, "release")
    overlay = ROOT / "build" / "bench" / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)
    package = overlay / "hawse_tunnel"
    shutil.copytree(ROOT / "exitnode" / "hawse_tunnel", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy2(library, package / "_core.abi3.so")
    return overlay


def nginx() -> Path:
    """nginx from Debian's packages, installed if we may."""
    return _program("nginx", "/usr/sbin/nginx")


def h2load() -> Path:
    """nghttp2's load generator for HTTP/2."""
    return _program("h2load", "/usr/bin/h2load")


def frp() -> Path:
    """A folder with frps and frpc, built through the Go module proxy."""
    kept = cache() / f"frp-{FRP}"
    if not (kept / "frpc").exists():
        module = cache() / f"frp-{FRP}-module"
        module.mkdir(exist_ok=True)
        (module / "go.mod").write_text(_GO_MODULE)
        (module / "tools.go").write_text(_GO_IMPORTS)
        _build(["go", "mod", "tidy"], module)
        names = [f"github.com/fatedier/frp/cmd/{name}" for name in ("frps", "frpc")]
        _build(["go", "build", "-trimpath", "-o", f"{kept}/", *names], module)
    return kept


def rathole() -> Path:
    """rathole with its noise transport, from crates.io."""
    kept = cache() / f"rathole-{RATHOLE}"
    if not (kept / "bin" / "rathole").exists():
        features = ["--no-default-features", "--features", "server,client,noise"]
        # Its own lock has a crate that today's compilers refuse, so without --locked.
        argv = ["cargo", "install", "-q", "rathole", "--version", RATHOLE, *features, "--root", str(kept)]
        _build(argv, cache(), CARGO_TARGET_DIR=str(cache() / "rathole-target"))
    return kept / "bin" / "rathole"


def _program(name: str, usual: str) -> Path:
    found = shutil.which(name) or (usual if Path(usual).exists() else None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _build(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *APT_PACKAGES], cache())
        found = shutil.which(name) or (usual if Path(usual).exists() else None)
    if found is None:
        raise MissingError(f"{name} is not installed (apt-get install {' '.join(APT_PACKAGES)})")
    return Path(found)


def _build(argv: Sequence[str], where: Path, **environment: str) -> None:
    try:
        everything: Mapping[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **environment}
        done = subprocess.run(
            argv, cwd=where, env=everything, capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise MissingError(f"{argv[0]}: {exc}") from exc
    if done.returncode:
        raise MissingError(f"{' '.join(argv[:4])} failed: {done.stderr.strip()[-600:]}")


def _build_hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "exitnode" / "core" / "hatch_build.py")
    if spec is None or spec.loader is None:
        raise MissingError("exitnode/core/hatch_build.py is gone")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
