"""Three tables of peers on a network that loses links, processes and lists: what is believed is what is served."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hawse_api.ir import frames_pb2
from hawse_exitnode.peer_state import (
    Admit,
    Close,
    Command,
    DialFailed,
    DialPeer,
    Event,
    FrameCame,
    LinkAccepted,
    LinkClosed,
    LinkDialled,
    Peer,
    PeersListed,
    Phase,
    Reach,
    Send,
    ServingChanged,
)
from hawse_exitnode.session_state import NodeFacts
from support.peer_script import DOMAIN, Script, peer

PEERS = {name: peer(name, region) for name, region in (("a", "eu-west"), ("b", "eu-west"), ("c", "us-east"))}
NAMES = st.sampled_from(sorted(PEERS))
TUNNELS = st.frozensets(st.sampled_from(["u1", "u2", "u3", "u4"]))


class Node:
    """A process: its table, and what its core would hold."""

    def __init__(self, me: Peer, listed: tuple[Peer, ...]) -> None:
        self.admitted: set[int] = set()
        self.routes: dict[int, set[str]] = {}
        self.script = Script(*listed, node=NodeFacts("1", me.exit_node, me.region, me.pod, DOMAIN))


class Fleet(RuleBasedStateMachine):
    """Links are numbers that both ends share; frames arrive in order, when the network likes."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = tuple(PEERS.values())
        self.serves: dict[str, frozenset[str]] = dict.fromkeys(PEERS, frozenset())
        self.nodes: dict[str, Node] = {}
        self.ends: dict[int, tuple[str, str]] = {}
        """Link -> who dialled, who accepted."""
        self.under_way: dict[int, deque[tuple[str, frames_pb2.Frame]]] = {}
        self.dials: deque[tuple[str, Node, DialPeer]] = deque()
        self.next_link = 1
        for name in PEERS:
            self.start(name)
        self.calm_down()

    def start(self, name: str) -> None:
        me = PEERS[name]
        self.nodes[name] = node = Node(me, self.listed)
        self.carry_out(name, [DialPeer(one.attempt, one.peer) for one in node.script.state.dials.values()])
        self.feed(name, ServingChanged(self.serves[name]))

    def feed(self, name: str, event: Event) -> None:
        self.carry_out(name, self.nodes[name].script.feed(event))

    def carry_out(self, name: str, commands: "tuple[Command, ...] | list[Command]") -> None:
        node = self.nodes[name]
        for command in commands:
            match command:
                case DialPeer():
                    self.dials.append((name, node, command))
                case Send(link, frame) if link in self.ends:
                    other = next(end for end in self.ends[link] if end != name)
                    self.under_way[link].append((other, frame))
                case Close(link):
                    self.cut(link)
                case Admit(link):
                    assert self.ends[link][1] == name
                    node.admitted.add(link)
                case Reach(link, _, add, remove):
                    held = node.routes.setdefault(link, set())
                    assert held.isdisjoint(add)
                    assert held.issuperset(remove)
                    node.routes[link] = (held - set(remove)) | set(add)

    def cut(self, link: int) -> None:
        """Both ends hear of it; what was under way is lost, but for a refusal, which its sender waits for."""
        ends = self.ends.pop(link, None)
        if ends is None:
            return
        for to, frame in self.under_way.pop(link):
            if frame.WhichOneof("frame") == "refused":
                self.feed(to, FrameCame(link, frame))
        for name in ends:
            self.nodes[name].routes.pop(link, None)
            self.nodes[name].admitted.discard(link)
            self.feed(name, LinkClosed(link, "cut"))

    # --- what happens ------------------------------------------------------------------------------------------------
    @rule(name=NAMES, tunnels=TUNNELS)
    def agents_come_and_go(self, name: str, tunnels: frozenset[str]) -> None:
        self.serves[name] = tunnels
        self.feed(name, ServingChanged(tunnels))

    @rule()
    def a_dial_succeeds(self) -> None:
        if self.dials:
            name, node, command = self.dials.popleft()
            if self.nodes[name] is not node:
                return  # that process is gone
            link, self.next_link = self.next_link, self.next_link + 1
            self.ends[link], self.under_way[link] = (name, command.peer.pod), deque()
            self.feed(name, LinkDialled(command.attempt, link, command.peer.spiffe_id))
            if link in self.ends:
                self.feed(command.peer.pod, LinkAccepted(link, PEERS[name].spiffe_id))

    @rule()
    def a_dial_fails(self) -> None:
        if self.dials:
            name, node, command = self.dials.popleft()
            if self.nodes[name] is node:
                self.feed(name, DialFailed(command.attempt, "nobody answers"))

    @rule(choice=st.integers(0, 20), count=st.integers(1, 5))
    def frames_arrive(self, choice: int, count: int) -> None:
        waiting = [link for link, frames in self.under_way.items() if frames]
        if waiting:
            link = waiting[choice % len(waiting)]
            for _ in range(count):
                if self.under_way.get(link):
                    to, frame = self.under_way[link].popleft()
                    self.feed(to, FrameCame(link, frame))

    @rule()
    def calm_down(self) -> None:
        """Everything that is under way arrives."""
        for _ in range(6):
            self.time_passes(20.0)
            while self.dials:
                self.a_dial_succeeds()
            while any(self.under_way.values()):
                self.frames_arrive(0, 5)

    @rule(choice=st.integers(0, 20))
    def a_link_is_lost(self, choice: int) -> None:
        if self.ends:
            self.cut(sorted(self.ends)[choice % len(self.ends)])

    @rule(name=NAMES)
    def a_process_is_killed(self, name: str) -> None:
        for link in [link for link, ends in self.ends.items() if name in ends]:
            self.cut(link)
        self.start(name)

    @rule(name=NAMES, missing=st.frozensets(NAMES))
    def a_list_comes(self, name: str, missing: frozenset[str]) -> None:
        self.feed(name, PeersListed(tuple(one for one in self.listed if one.pod not in missing)))

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        for name, node in self.nodes.items():
            self.carry_out(name, node.script.wait(seconds))

    # --- what always holds -------------------------------------------------------------------------------------------
    @invariant()
    def a_node_has_one_link_a_direction_with_a_peer(self) -> None:
        for name, node in self.nodes.items():
            state = node.script.state
            for whom in PEERS.values():
                links = [link for link in state.links.values() if link.peer.spiffe_id == whom.spiffe_id]
                assert sum(link.is_dialled for link in links if link.phase is not Phase.CLOSING) <= 1
                assert sum(link.phase is Phase.SERVING for link in links) <= 1
                assert sum(link.phase is Phase.AWAIT_HELLO for link in links) <= 1
            assert name not in {link.peer.pod for link in state.links.values()}

    @invariant()
    def who_is_not_listed_is_not_admitted(self) -> None:
        for node in self.nodes.values():
            for link in node.admitted:
                assert PEERS[self.ends[link][0]].spiffe_id in node.script.state.peers

    @invariant()
    def a_route_is_one_of_a_peer_that_is_reached(self) -> None:
        for node in self.nodes.values():
            for link, tunnels in node.routes.items():
                known = node.script.state.links[link]
                assert known.heard == tunnels
                assert not tunnels or known.phase is Phase.REACHED

    def teardown(self) -> None:
        """Left in peace, everybody reaches everybody, and knows exactly what is served there."""
        for name in PEERS:
            self.feed(name, PeersListed(self.listed))
        self.calm_down()
        for name, node in self.nodes.items():
            found = {self.ends[link][1]: tunnels for link, tunnels in node.routes.items() if tunnels}
            assert found == {other: set(self.serves[other]) for other in PEERS if other != name and self.serves[other]}
            reached = [one.phase for one in node.script.state.links.values() if one.is_dialled]
            assert reached == [Phase.REACHED, Phase.REACHED]


Fleet.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
TestFleet = Fleet.TestCase
