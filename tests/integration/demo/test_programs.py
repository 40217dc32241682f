"""Real child processes: started apart from the terminal, ended with everything below them."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from demo import programs
from demo.errors import DemoError

pytestmark = pytest.mark.timeout(60)
ENVIRONMENT = {"PATH": os.environ["PATH"]}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def started(tmp_path: Path):
    found = programs.Programs(tmp_path)
    yield found
    found.stop_all()


def test_a_program_ends_with_its_children_even_those_that_ignore_the_signal(started: programs.Programs):
    script = "sh -c 'trap \"\" TERM; echo child $$; sleep 60 & wait; sleep 60' & wait"
    program = started.start("stubborn", ["bash", "-c", script], environment=ENVIRONMENT)
    child = started.await_output(program, re.compile(r"child (\d+)"), 5)
    assert child is not None
    programs.end_session(program.process, 0.5)
    assert not program.running()
    deadline = time.monotonic() + 5
    while runs(int(child)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(int(child))


def test_a_second_program_of_a_name_has_a_log_of_its_own(started: programs.Programs):
    both = [started.start("two", ["bash", "-c", f"echo {text}; echo e >&2"], environment=ENVIRONMENT) for text in "ab"]
    assert [one.wait(5) for one in both] == [0, 0]
    assert [one.output() for one in both] == ["a\ne\n", "b\ne\n"]
    assert both[0].log.name == "two.log"


def test_waiting_for_output_ends_with_the_program(started: programs.Programs):
    program = started.start("silent", ["true"], environment=ENVIRONMENT)
    assert started.await_output(program, re.compile("never"), 30) is None
    assert [one.name for one in started.ended()] == ["silent"]


def test_a_command_that_takes_too_long_is_ended_and_named():
    begun = time.monotonic()
    with pytest.raises(DemoError, match=r"`sleep 60 …` took longer than 0\.2 s") as caught:
        programs.run(["sleep", "60"], hop="a nap", environment=ENVIRONMENT, timeout_s=0.2)
    assert caught.value.hop == "a nap"
    assert time.monotonic() - begun < 10


def test_a_command_that_is_missing_is_named():
    with pytest.raises(DemoError, match="no-such-program cannot be started"):
        programs.run(["no-such-program"], hop="x", environment=ENVIRONMENT, timeout_s=5)


def test_a_command_gets_its_input_and_keeps_its_outputs_apart():
    done = programs.run(
        ["bash", "-c", "cat; echo e >&2; exit 3"], hop="x", environment=ENVIRONMENT, timeout_s=5, stdin="a"
    )
    assert (done.code, done.out, done.err) == (3, "a", "e\n")


def test_the_end_of_a_log_is_bounded(tmp_path: Path):
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert programs.tail(log, 2) == ["line 99998", "line 99999"]
    assert programs.tail(tmp_path / "absent.log") == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_orphan_is_still_found_below_the_demo_and_killed():
    script = textwrap.dedent("""
        import os, subprocess, sys, time
        from demo import programs
        programs.adopt_orphans()
        subprocess.run(["bash", "-c", "sleep 61 & disown"], check=True)
        assert any("sleep 61" in line for line in programs.leftovers()), programs.leftovers()
        programs.kill_leftovers()
        time.sleep(0.2)
        assert programs.leftovers() == []
    """)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(Path(programs.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_program_dies_with_a_demo_that_is_killed(tmp_path: Path):
    script = textwrap.dedent(f"""
        import pathlib, time
        from demo import programs
        started = programs.Programs(pathlib.Path({str(tmp_path)!r}))
        program = started.start("nap", ["sleep", "62"], environment={{"PATH": {os.environ["PATH"]!r}}})
        print(program.process.pid, flush=True)
        time.sleep(60)
    """)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(Path(programs.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        pid = int(demo.stdout.readline())
        assert runs(pid)
        demo.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(pid)
