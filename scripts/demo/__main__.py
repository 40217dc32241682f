"""Runs the steps of the demo, then ends everything, proves that nothing is left, and counts.

Exit codes: 0 every expectation held; 1 one did not, or a step failed; 130 interrupted before step 8 was done.
Ctrl-C and SIGTERM end it in order at any time. Called by `make demo`, first with the argument `preflight`: settings and
ports are checked before a cold machine spends minutes on the build.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from demo import changes, kills, lookups, programs, setup, stay, visiting
from demo.clusters import Cluster
from demo.embedded import EmbeddedCluster
from demo.errors import DemoError
from demo.existing import ExistingCluster
from demo.kindcluster import KindCluster
from demo.kube import Shell
from demo.report import Report, seconds
from demo.session import Session
from demo.settings import Place, Settings, read_settings

ROOT = Path(__file__).resolve().parent.parent.parent
_GONE_S = 5.0

Step = Callable[[Session], None]
STEPS: tuple[tuple[str, Step], ...] = (
    ("A Kubernetes cluster", setup.start_cluster),
    ("Hawse, installed with Helm", setup.install_chart),
    ("The platform team's fleet: an exit node in each of two regions", setup.apply_fleet),
    ("The developer's tunnel: an app on this machine, an agent, a public address", setup.open_tunnel),
    ("Visitors", visiting.visit_tunnel),
    ("Where look-ups lead, and when a region dies", lookups.look_up),
    ("What a kill -9 costs the visitors", kills.kill_everything),
    ("What happens when things change", changes.change_things),
)
STAY = (len(STEPS) + 1, "Yours to try")


def main() -> int:
    """Entry point."""
    report = Report(sys.stdout)
    if sys.argv[1:] == ["preflight"]:
        return _preflight(report)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # SIGINT too: a shell's background job inherits it ignored
    programs.adopt_orphans()
    directory = Path(tempfile.mkdtemp(prefix="hawse-demo-"))
    try:
        settings = read_settings(os.environ, root=ROOT, programs=Path(sys.executable).parent)
    except DemoError as error:
        directory.rmdir()
        return _refuse(report, error)
    session = _open_session(settings, report, directory)
    code = 1
    try:
        code = _run(session)
    finally:
        _end(session, code)
    if report.failed:
        code = 1
    report.line(report.summary)
    return code


def _preflight(report: Report) -> int:
    """Say what would stop the demo later; silent when nothing would."""
    try:
        setup.check_ports(read_settings(os.environ, root=ROOT, programs=Path(sys.executable).parent))
    except DemoError as error:
        return _refuse(report, error)
    return 0


def _refuse(report: Report, error: DemoError) -> int:
    report.check("the demo can start", held=False)
    _explain(report, error, None)
    report.line(report.summary)
    return 1


def _run(session: Session) -> int:
    """All steps; what went wrong is explained on the way out."""
    report = session.report
    started = time.monotonic()
    number, title = 0, "Ports"
    try:
        setup.check_ports(session.settings)
        report.line("Hawse: from an empty cluster to a tunnel that is served, on real parts only.")
        report.line(f"Logs: {session.logs}")
        for number, (title, step) in enumerate(STEPS, start=1):
            report.step(number, title)
            step(session)
        report.line()
        report.line(f"Steps 1 to {len(STEPS)} took {seconds(time.monotonic() - started)}.")
        if not session.settings.check:
            number, title = STAY
            report.step(number, title)
            stay.stay_up(session)
    except DemoError as error:
        report.check(f"step {number} ({title}) ran to its end" if number else "the demo can start", held=False)
        _explain(report, error, session.logs)
        _save_logs(session)
        return 1
    except KeyboardInterrupt:
        report.line()
        report.note(f"Interrupted in step {number}; ending everything.")
        return 130
    return 0


def _open_session(settings: Settings, report: Report, directory: Path) -> Session:
    logs, tools = directory / "logs", directory / "bin"
    logs.mkdir()
    tools.mkdir()
    cluster = _cluster(settings, directory)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HAWSE_", "MAKE", "MFLAGS"))
    }
    environment |= {
        "PATH": os.pathsep.join((str(tools), str(settings.bin), os.environ.get("PATH", os.defpath))),
        "KUBECONFIG": str(cluster.kubeconfig),
        "HAWSE_CONFIG_DIR": str(directory / "agent"),
        "PYTHONUNBUFFERED": "1",
        # Helm's own files stay out of the user's.
        "HELM_CACHE_HOME": str(directory / "helm"),
        "HELM_CONFIG_HOME": str(directory / "helm"),
        "HELM_DATA_HOME": str(directory / "helm"),
    }
    shell = Shell(report, settings.root, environment, logs / "commands.log")
    return Session(settings, report, programs.Programs(logs), shell, cluster, directory)


def _cluster(settings: Settings, directory: Path) -> Cluster:
    match settings.place:
        case Place.EMBEDDED:
            return EmbeddedCluster(settings, directory)
        case Place.KIND:
            return KindCluster(settings, directory)
        case Place.EXISTING:
            assert settings.kubeconfig is not None  # noqa: S101 - read_settings saw to it
            assert settings.images is not None  # noqa: S101
            return ExistingCluster(settings, settings.kubeconfig, settings.images)


def _end(session: Session, code: int) -> None:
    """End agent, app and port-forward, then the cluster; look for what is left; remove what nobody needs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # bounded below; a second Ctrl-C must not cut it short
    report = session.report
    session.programs.stop_all()
    try:
        session.cluster.stop(session.shell)
    except DemoError as error:
        _explain(report, error, session.logs)
    deadline = time.monotonic() + _GONE_S
    while (left := programs.leftovers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    programs.kill_leftovers()
    report.check("everything has ended, no process is left", not left, "; ".join(left))
    if code == 0 and not report.failed:
        shutil.rmtree(session.directory, ignore_errors=True)
        return
    for entry in session.directory.iterdir():
        if entry != session.logs:
            with contextlib.suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    report.note(f"Logs are kept in {session.logs}")


def _save_logs(session: Session) -> None:
    try:
        session.cluster.save_logs(session.shell, session.logs)
    except DemoError as error:
        session.report.note(f"Not all logs could be fetched: {error.message}")


def _explain(report: Report, error: DemoError, logs: Path | None) -> None:
    report.line()
    report.bad(f"Failed at: {error.hop}")
    report.output(error.message)
    if error.fix:
        report.fact("fix", error.fix)
    if error.log is not None and (lines := programs.tail(error.log)):
        report.note(f"The end of {error.log}:")
        for line in lines:
            report.note(f"  {line}")
    if logs is not None:
        report.fact("all logs", str(logs))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
