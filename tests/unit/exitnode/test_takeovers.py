"""Two sessions of one slot, as scripts: the newer one takes over once it serves."""

import pytest

from hawse_api import names
from hawse_api.ir import core_pb2
from hawse_exitnode import takeovers
from hawse_exitnode.directory import Directory
from hawse_exitnode.session_state import Bind, Command, DirectoryChanged, LinkClosed, LinkOpened, Phase, Tick
from support.session_script import DIRECTORY, NONCE, SHOP, WHO, Script

TCP, QUIC = core_pb2.TRANSPORT_TCP, core_pb2.TRANSPORT_QUIC
TOLD = ["1:refused", "1:close 2007"]


class Slot(Script):
    """One agent's slot; remembers which links visitors may be sent to."""

    def __init__(self) -> None:
        super().__init__()
        self.bound: dict[int, tuple[str, ...]] = {}

    def feed(self, event: object) -> tuple[Command, ...]:
        for command in super().feed(event):  # type: ignore[arg-type]  # any event
            if isinstance(command, Bind):
                self.bound[command.link] = command.tunnel_uids
        return self.out

    def greet(self, link: int, epoch: int, transport: int = QUIC) -> None:
        self.feed(LinkOpened(link, names.ALPN_LINK, "192.0.2.1:4000", WHO, b"cert", NONCE, transport))
        self.hello(link, epoch=epoch)

    def serve(self, link: int, epoch: int, transport: int = QUIC) -> None:
        self.greet(link, epoch, transport)
        self.register(SHOP.uid, link=link)

    def serving(self) -> list[int]:
        return [link for link, tunnels in self.bound.items() if tunnels]


def test_the_older_session_serves_until_the_newer_one_has_registered() -> None:
    slot = Slot()
    slot.serve(1, 10)
    slot.greet(2, 11)
    assert slot.kinds() == ["2:welcome", "2:offer"]
    assert slot.serving() == [1]
    slot.register(SHOP.uid, link=2)
    assert slot.kinds() == ["2:bind uid-shop", "2:registered", "1:bind "]
    assert slot.serving() == [2]
    slot.at += takeovers.YIELD_LEAST_S
    slot.feed(Tick())
    assert slot.kinds() == TOLD
    assert (slot.refusal(1).code, slot.refusal(1).final, slot.refusal(1).epoch) == ("HAWSE-2007", True, 11)


def test_a_session_that_serves_nothing_is_not_waited_for() -> None:
    slot = Slot()
    slot.greet(1, 10)
    slot.greet(2, 11)
    assert slot.kinds() == [*TOLD, "2:welcome", "2:offer"]


@pytest.mark.parametrize("transport", [TCP, QUIC])
def test_the_older_session_may_finish_its_streams(transport: int) -> None:
    slot = Slot()
    slot.serve(1, 10, transport)
    slot.serve(2, 11)
    assert slot.kinds() == ["2:bind uid-shop", "2:registered", "1:bind "]
    slot.at += takeovers.YIELD_LEAST_S
    assert slot.feed(Tick(frozenset({1}))) == ()
    assert slot.register(SHOP.uid, link=1) == (), "it does not get its place back"
    slot.feed(Tick())
    assert slot.kinds() == TOLD
    slot.feed(LinkClosed(1))
    assert slot.serving() == [2]


def test_streams_without_end_are_cut_after_the_grace() -> None:
    slot = Slot()
    slot.serve(1, 10, TCP)
    slot.serve(2, 11)
    slot.at += takeovers.YIELD_S - 0.1
    assert slot.feed(Tick(frozenset({1}))) == ()
    slot.at += 0.2
    slot.feed(Tick(frozenset({1})))
    assert slot.kinds() == TOLD


def test_a_stream_that_was_on_its_way_is_waited_for() -> None:
    slot = Slot()
    slot.serve(1, 10, TCP)
    slot.serve(2, 11)
    assert slot.feed(Tick()) == ()


def test_a_newer_session_that_is_lost_before_it_serves_leaves_the_slot_to_the_older() -> None:
    slot = Slot()
    slot.serve(1, 10, TCP)
    slot.greet(2, 11)
    slot.feed(LinkClosed(2))
    assert slot.serving() == [1]
    slot.at += takeovers.REGISTER_DEADLINE_S + takeovers.YIELD_S
    assert slot.feed(Tick()) == ()
    slot.serve(3, 12)
    assert slot.serving() == [3]


def test_a_newer_session_that_registers_nothing_has_the_slot_in_the_end() -> None:
    slot = Slot()
    slot.serve(1, 10)
    slot.greet(2, 11)
    slot.at += takeovers.REGISTER_DEADLINE_S
    slot.feed(Tick())
    assert slot.kinds() == ["1:bind "]


def test_an_older_session_that_is_lost_first_changes_nothing_for_the_newer() -> None:
    slot = Slot()
    slot.serve(1, 10)
    slot.greet(2, 11)
    slot.feed(LinkClosed(1))
    slot.register(SHOP.uid, link=2)
    assert slot.kinds() == ["2:bind uid-shop", "2:registered"]


def test_a_third_session_replaces_the_second_and_the_first_serves_on() -> None:
    slot = Slot()
    slot.serve(1, 10)
    slot.greet(2, 11)
    slot.greet(3, 12)
    assert slot.kinds() == ["2:refused", "2:close 2007", "3:welcome", "3:offer"]
    assert slot.serving() == [1]
    slot.register(SHOP.uid, link=3)
    assert slot.serving() == [3]


def test_at_most_one_session_of_a_slot_finishes_its_streams() -> None:
    slot = Slot()
    for link in range(1, 6):
        slot.serve(link, 10 + link, TCP)
    assert [link.id for link in slot.state.links.values() if link.phase is Phase.YIELDING] == [4]
    assert slot.serving() == [5]


@pytest.mark.parametrize("transport", [TCP, QUIC])
def test_a_token_that_is_deleted_ends_both(transport: int) -> None:
    slot = Slot()
    slot.serve(1, 10, transport)
    slot.serve(2, 11)
    slot.feed(DirectoryChanged(Directory({}, {}, DIRECTORY.tokens)))
    assert {link.phase for link in slot.state.links.values()} == {Phase.CLOSING}
