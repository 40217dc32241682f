"""Builds the Go programs of the embedded cluster once and keeps them: `devcluster` (kind/cluster) and the real `helm`.

A binary is named by the hash of what it is made of (go.mod, go.sum, sources, `go version`, the recipe) and lies in
`${XDG_CACHE_HOME:-~/.cache}/hawse/tools/`. Concurrent runs wait for one another. A cold machine needs minutes, so a
live line says how long it usually takes. It does not install Go and downloads through the module proxy only.
Called by `make demo`, by kind/devcluster.py and by CI; `--print-path NAME` builds NAME if needed and prints its path,
`--verify` vets and tests our own Go sources with the packages that those builds compiled.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MODULE = Path(__file__).resolve().parent.parent / "kind" / "cluster"
KUBERNETES = "k8s.io/kubernetes"
PATCHED_FILE = "pkg/apis/core/validation/validation.go"
PATCH_EDITION = 1
"""Raise it with each change of allow_loopback_endpoints or _copy_sources: it names the copy and the binaries."""
GOFLAGS = "-trimpath -buildvcs=false"
KEPT_BUILDS = 3
"""Older binaries of a tool that stay in the cache, the newest included: switching branches costs no build."""
BUILD_LIMIT_S = 3600.0
"""A build that takes longer than this hangs: a cold one took 7 minutes on two cores."""
QUIET_REPORT_S = 30.0


class BuildError(Exception):
    """A tool cannot be built; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One Go program of the module kind/cluster."""

    name: str
    package: str
    usual_s: float
    """What a cold build took on two cores; replaced by what is measured here."""
    own_sources: bool
    """Whether the sources below kind/cluster are part of it, or only its go.mod and go.sum."""


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("devcluster", "./cmd/devcluster", usual_s=430.0, own_sources=True),
        Tool("helm", "helm.sh/helm/v4/cmd/helm", usual_s=90.0, own_sources=False),
    )
}


def build_all(names: list[str]) -> dict[str, Path]:
    """Return the paths of the named tools, building those that are missing.

    Raises:
        BuildError: Go is missing or a build failed.
    """
    go = shutil.which("go")
    if go is None:
        raise BuildError("Go is not installed; the embedded cluster needs Go 1.26 or newer (see go.dev/doc/install)")
    version = _output([go, "version"], cwd=MODULE)
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in names:
        tool = TOOLS[name]
        path = cache / "tools" / f"{name}-{content_key(tool, version)}" / name
        if not path.exists():
            _build_once(tool, go, cache, path)
        paths[name] = path
    return paths


def cache_dir() -> Path:
    """Where binaries, the patched source and the remembered times lie."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hawse"


def content_key(tool: Tool, go_version: str) -> str:
    """Hash everything a binary is made of."""
    files = [MODULE / "go.mod", MODULE / "go.sum"]
    if tool.own_sources:
        files += sorted(path for path in MODULE.rglob("*.go") if _is_source(path))
    digest = hashlib.sha256(f"{tool}\n{go_version}\n{GOFLAGS}\n{_ldflags(tool)}\n{PATCH_EDITION}\n".encode())
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:20]


def _is_source(path: Path) -> bool:
    parts = path.relative_to(MODULE).parts
    return not path.name.endswith("_test.go") and not any(part.startswith(".") for part in parts)


def allow_loopback_endpoints(source: str) -> str:
    """Remove the one check of kube-apiserver that refuses endpoints in 127.0.0.0/8, where all our pods live.

    Raises:
        BuildError: The function or the check is not there exactly once, so this Kubernetes differs from the known one.
    """
    function = re.compile(r"^func ValidateEndpointIP\(.*?^}\n", re.DOTALL | re.MULTILINE)
    check = re.compile(r"\tif ip\.IsLoopback\(\) \{\n.*?\n\t\}\n", re.DOTALL)
    found = function.search(source)
    body, count = check.subn("", found.group()) if found else ("", 0)
    if found is None or count != 1:
        raise BuildError(
            f"{KUBERNETES}: {PATCHED_FILE} has no single loopback check in ValidateEndpointIP any more."
            " Look at the new version and adapt allow_loopback_endpoints in scripts/build_tools.py."
        )
    return source[: found.start()] + body + source[found.end() :]


def _build_once(tool: Tool, go: str, cache: Path, path: Path) -> None:
    with _locked(cache / "build.lock", f"{tool.name}: waiting for another build of the tools"):
        if path.exists():  # built while this run waited
            return
        environment = _environment()
        modfile = _patched_modfile(go, cache, environment)
        (cache / "logs").mkdir(exist_ok=True)
        log = cache / "logs" / f"{tool.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        command = [go, "build", f"-modfile={modfile}", f"-ldflags={_ldflags(tool)}", "-o", str(partial), tool.package]
        started = time.monotonic()
        usual = usual_times(cache).get(tool.name, tool.usual_s)
        try:
            _run_with_progress(command, environment, log, tool.name, usual)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
            if not path.exists():
                path.parent.rmdir()
        remember(cache, tool.name, time.monotonic() - started)
        _drop_old_builds(path, tool.name)


def verify() -> int:
    """Run `go vet` and `go test` with the builds' flags and modules: with others all of Kubernetes compiles again."""
    go = shutil.which("go")
    if go is None:
        raise BuildError("Go is not installed; see go.dev/doc/install")
    modfile = f"-modfile={_patched_modfile(go, cache_dir(), _environment())}"
    for command in ([go, "vet", modfile, "./..."], [go, "test", "-vet=off", modfile, "./..."]):
        code = subprocess.run(command, cwd=MODULE, env=_environment(), check=False, timeout=BUILD_LIMIT_S).returncode
        if code != 0:
            return code
    return 0


def _environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": GOFLAGS}


def _ldflags(tool: Tool) -> str:
    """Strip, and set the versions that kubectl and Helm parse."""
    if tool.name == "helm":
        return f"-s -w -X helm.sh/helm/v4/internal/version.version={_required_version('helm.sh/helm/v4')}"
    version = _required_version(KUBERNETES)
    minor = version.split(".")[1]
    names = {
        "gitVersion": version,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "devcluster",
    }
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in names.items())


def _required_version(module: str) -> str:
    found = re.search(rf"^\t{re.escape(module)} (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{MODULE / 'go.mod'} requires no {module}")
    return found.group(1)


def _patched_modfile(go: str, cache: Path, environment: Mapping[str, str]) -> Path:
    """Copy k8s.io/kubernetes without that check, and go.mod with a replace of it.

    `go build -overlay` would be shorter, but refuses files of the module cache.
    """
    version = _required_version(KUBERNETES)
    copy = cache / "src" / f"kubernetes-{version}-{PATCH_EDITION}"
    if not copy.exists():
        _say(f"downloading {KUBERNETES} {version} and what it needs (first time only)")
        # The text of `-json` goes to stdout also when it fails; its Error field is what to show.
        answer = json.loads(_output([go, "mod", "download", "-json", f"{KUBERNETES}@{version}"], MODULE, environment))
        copy.parent.mkdir(parents=True, exist_ok=True)
        for old in copy.parent.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=copy.parent) as scratch:
            made = Path(scratch) / "copy"
            _copy_sources(Path(answer["Dir"]), made)
            target = made / PATCHED_FILE
            target.write_text(allow_loopback_endpoints(target.read_text()))
            made.replace(copy)
    modfile = copy.parent / "go.mod"
    text = (MODULE / "go.mod").read_text()
    modfile.write_text(f"{text}\nreplace {KUBERNETES} => {json.dumps(str(copy))}\n")
    shutil.copyfile(MODULE / "go.sum", copy.parent / "go.sum")
    return modfile


def _copy_sources(source: Path, target: Path) -> None:
    """Copy a module of the (read-only) module cache, without what no build reads."""
    unread = shutil.ignore_patterns("*_test.go", "testdata", "CHANGELOG", "hack", "logo", "docs")
    # copyfile, not copy: the files of the module cache are read-only, and so would the copies be.
    shutil.copytree(source, target, ignore=unread, copy_function=shutil.copyfile)
    for directory, _, _ in os.walk(target):
        Path(directory).chmod(0o755)


@contextlib.contextmanager
def _locked(path: Path, waiting: str) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_with_progress(
    command: list[str], environment: Mapping[str, str], log: Path, name: str, usual_s: float
) -> None:
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=MODULE, env=environment, stdout=output, stderr=subprocess.STDOUT)
        started = time.monotonic()
        try:
            with _progress(name, usual_s) as report:
                while process.poll() is None and time.monotonic() - started < BUILD_LIMIT_S:
                    time.sleep(0.5)
                    report(time.monotonic() - started)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise BuildError(
            f"building {name} failed (go build ended with {process.returncode}). The end of {log}:\n{tail}"
        )


class _Report:
    """The live line on a terminal; elsewhere a line at the start and every 30 seconds."""

    def __init__(self, name: str, usual_s: float, stream: IO[str]) -> None:
        self._name, self._usual, self._stream = name, duration(usual_s), stream
        self._live = stream.isatty()
        self._next = 0.0

    def __call__(self, elapsed_s: float) -> None:
        if elapsed_s < self._next:
            return
        self._next = elapsed_s + (0.5 if self._live else QUIET_REPORT_S)
        text = f"building {self._name}: {duration(elapsed_s)} (usually {self._usual}; once per version)"
        self._stream.write(f"\r\033[K{text}" if self._live else f"{text}\n")
        self._stream.flush()


@contextlib.contextmanager
def _progress(name: str, usual_s: float) -> Iterator[_Report]:
    report = _Report(name, usual_s, sys.stderr)
    started = time.monotonic()
    report(0.0)
    try:
        yield report
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        _say(
            f"built {name} in {duration(time.monotonic() - started)}" if sys.exc_info()[0] is None else f"{name}: ended"
        )


def duration(seconds: float) -> str:
    """Format seconds for people: 42 s, 7 min 10 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def usual_times(cache: Path) -> dict[str, float]:
    """Return how many seconds each build took here the last time; of those that never ran there is none."""
    """Seconds that builds took on this machine, by name."""
    try:
        times = json.loads((cache / "build-times.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): float(value) for name, value in times.items()}


def remember(cache: Path, name: str, seconds: float) -> None:
    """Keep how long a build took, for the next one's live line."""
    """Keep how long a build took, for the next live line."""
    path = cache / "build-times.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(usual_times(cache) | {name: round(seconds, 1)}))
    partial.replace(path)


def _drop_old_builds(path: Path, name: str) -> None:
    builds = sorted(path.parent.parent.glob(f"{name}-*"), key=lambda build: build.stat().st_mtime, reverse=True)
    for old in builds[KEPT_BUILDS:]:
        shutil.rmtree(old, ignore_errors=True)


def _output(command: list[str], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise BuildError(
            f"{' '.join(command[1:])} took longer than 10 minutes; is the module proxy reachable?"
        ) from exc
    if done.returncode != 0:
        raise BuildError(f"go {' '.join(command[1:])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Build what the arguments name; print paths on stdout, progress on stderr."""
    parser = argparse.ArgumentParser(description="Build devcluster and helm, once per version.")
    parser.add_argument(
        "--print-path", metavar="NAME", choices=sorted(TOOLS), help="build NAME only and print its path"
    )
    parser.add_argument("--verify", action="store_true", help="vet and test the Go sources of this repository")
    options = parser.parse_args()
    try:
        if options.verify:
            return verify()
        paths = build_all([options.print_path] if options.print_path else list(TOOLS))
    except BuildError as error:
        _say(f"build_tools: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    for name, path in paths.items():
        print(path if options.print_path else f"{name} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
