"""Where TCP won is remembered per network, bounded and for a while."""

from pathlib import Path

import pytest

from hawse_agent import networks
from hawse_agent.networks import FILE, KEPT_S, MOST, Memory

NOW = 1_800_000_000.0
HOME, OFFICE = networks.fingerprint("192.168.1.20"), networks.fingerprint("10.1.2.3")


def test_addresses_of_one_network_have_one_fingerprint() -> None:
    assert networks.fingerprint("192.168.1.77") == HOME
    assert networks.fingerprint("2001:db8::1") == networks.fingerprint("2001:db8::ffff:1")
    assert networks.fingerprint("fe80::1%eth0") == networks.fingerprint("fe80::2")
    assert len({HOME, OFFICE, networks.fingerprint("2001:db8::1"), networks.fingerprint("2001:db8:0:1::1")}) == 4


def test_it_is_remembered_over_a_restart_until_quic_wins_there(tmp_path: Path) -> None:
    Memory(tmp_path).learn(HOME, NOW, tcp_won=True)
    again = Memory(tmp_path)
    assert (again.prefers_tcp(HOME, NOW), again.prefers_tcp(OFFICE, NOW)) == (True, False)
    again.learn(HOME, NOW + 1, tcp_won=False)
    assert not Memory(tmp_path).prefers_tcp(HOME, NOW + 1)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("later", "known"),
    [(KEPT_S - 1, True), (KEPT_S, False), (-2 * KEPT_S, False)],
    ids=["still", "over", "the clock went far back"],
)
def test_it_ends(tmp_path: Path, later: float, known: bool) -> None:
    memory = Memory(tmp_path)
    memory.learn(HOME, NOW, tcp_won=True)
    assert memory.prefers_tcp(HOME, NOW + later) is known


def test_the_oldest_make_room(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for number in range(MOST + 5):
        memory.learn(networks.fingerprint(f"10.0.{number}.1"), NOW + number, tcp_won=True)
    assert not memory.prefers_tcp(networks.fingerprint("10.0.4.1"), NOW + 100)
    assert all(memory.prefers_tcp(networks.fingerprint(f"10.0.{one}.1"), NOW + 100) for one in range(5, MOST + 5))


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2, "tcp": {}}', b"x" * 20000], ids=len)
def test_a_broken_file_costs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    memory = Memory(tmp_path)
    memory.learn(HOME, NOW, tcp_won=True)
    assert Memory(tmp_path).prefers_tcp(HOME, NOW)


def test_a_file_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "gone")
    memory.learn(HOME, NOW, tcp_won=True)
    assert memory.prefers_tcp(HOME, NOW)


def test_without_a_network_nothing_is_learned(tmp_path: Path) -> None:
    Memory(tmp_path).learn(None, NOW, tcp_won=True)
    assert not (tmp_path / FILE).exists()
    assert not Memory(tmp_path).prefers_tcp(None, NOW)
