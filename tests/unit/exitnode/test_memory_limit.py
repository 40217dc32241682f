"""How much memory an exit node takes itself to have."""

from pathlib import Path

import pytest

from hawse_exitnode import memory
from hawse_exitnode.errors import UsageError

GIB = 1 << 30
V2, V1, MACHINE = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes", "proc/meminfo"
FOUR_GIB = "MemFree: 5 kB\nMemTotal:        4194304 kB\n"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({V2: f"{GIB}\n", MACHINE: FOUR_GIB}, GIB),
        ({V1: f"{GIB}\n", MACHINE: FOUR_GIB}, GIB),
        ({V2: "max\n", MACHINE: FOUR_GIB}, 4 * GIB),
        ({V1: "9223372036854771712\n", MACHINE: FOUR_GIB}, 4 * GIB),
        ({MACHINE: FOUR_GIB}, 4 * GIB),
        ({V2: f"{GIB}\n"}, GIB),
        ({}, 0),
    ],
    ids=["cgroup v2", "cgroup v1", "v2 without a limit", "v1 without a limit", "no cgroup", "no machine", "neither"],
)
def test_the_limit_is_the_containers_or_the_machines(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.limit({}, tmp_path) == limit


def test_the_variable_wins(tmp_path: Path) -> None:
    assert memory.limit({memory.VARIABLE: "0"}, tmp_path) == 0
    assert memory.limit({memory.VARIABLE: "1000"}, tmp_path) == 1000
    with pytest.raises(UsageError, match="write a number of bytes"):
        memory.limit({memory.VARIABLE: "1Gi"}, tmp_path)
