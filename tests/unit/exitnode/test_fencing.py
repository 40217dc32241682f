"""Whatever agents, the network, the operator and clocks do: one slot's visitors have one place to go to.

Hypothesis plays against the session table and a model that knows only what the table said: which links it welcomed,
what it offered to each, where it sent visitors.
"""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hawse_api import names, spiffe
from hawse_api.ir import frames_pb2
from hawse_exitnode.directory import Directory
from hawse_exitnode.session_state import (
    Bind,
    Close,
    DirectoryChanged,
    DrainStarted,
    Event,
    FrameCame,
    Limits,
    LinkClosed,
    LinkOpened,
    OperatorChanged,
    Phase,
    Send,
    Tick,
)
from support.session_script import BLOG, SHOP, WHO, Script

LIMITS = Limits(links=10, sessions=3, sessions_per_token=2, dead_fences=2)
TOKENS = ("token-1", "token-2")
AGENTS = [
    replace(WHO, token_uid=token, agent_id=agent)
    for token, agent in ((TOKENS[0], "one"), (TOKENS[0], "two"), (TOKENS[1], "one"))
]
some_agent = st.sampled_from(AGENTS)
UIDS = [SHOP.uid, BLOG.uid, "uid-of-nobody"]
some_link = st.integers(min_value=0, max_value=LIMITS.links)
some_slot = st.sampled_from(["a", "b"])
some_epoch = st.integers(min_value=1, max_value=5)
some_offer = st.sets(st.sampled_from([BLOG, SHOP])).map(lambda found: tuple(sorted(found, key=lambda one: one.uid)))


@dataclass
class Seen:
    """A link as its agent sees it."""

    who: spiffe.AgentId
    slot: str = ""
    epoch: int = 0
    welcomed: bool = False
    over: bool = False
    """It was refused or closed by the exit node; it may still be up."""
    yields: bool = False
    """A newer session has its slot; its streams may end."""
    offered: frozenset[str] = frozenset()
    ever_offered: frozenset[str] = frozenset()
    visitors_of: frozenset[str] = frozenset()

    @property
    def place(self) -> tuple[str, str, str]:
        return self.who.token_uid, self.who.agent_id, self.slot

    @property
    def live(self) -> bool:
        return self.welcomed and not self.over and not self.yields


class Fencing(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.script = Script(limits=LIMITS)
        self.links: dict[int, Seen] = {}
        self.opened = 0
        self.epoch = 5

    # --- model -------------------------------------------------------------------------------------------------------
    def feed(self, event: Event) -> None:
        """One event; the model takes over what came out, and complains of what no agent could follow."""
        for command in self.script.feed(event):
            match command:
                case Bind(link, uids):
                    assert not uids or self.links[link].live, "visitors are sent to a link that is over"
                    self.links[link].visitors_of = frozenset(uids)
                case Close(link):
                    assert not self.links[link].visitors_of, "a link is closed under its visitors"
                    self.links[link].over = True
                case Send(link, frame):
                    self.told(self.links[link], frame)
        for key, known in self.script.state.links.items():
            self.yields(self.links[key], known.phase is Phase.YIELDING)

    def yields(self, link: Seen, now: bool) -> None:
        if now and not link.yields:
            rivals = [other for other in self.links.values() if other.place == link.place and other.live]
            assert any(rival.epoch > link.epoch for rival in rivals), "it has nobody to yield to"
        link.yields = now

    def told(self, link: Seen, frame: frames_pb2.Frame) -> None:
        assert not link.over, "a frame after the refusal"
        match frame.WhichOneof("frame"):
            case "welcome":
                link.welcomed = True
            case "offer":
                link.offered = frozenset(tunnel.uid for tunnel in frame.offer.tunnels)
                link.ever_offered |= link.offered
            case "refused":
                link.over = True

    def pick(self, number: int, *, live: bool) -> int | None:
        found = [key for key, link in self.links.items() if not link.over and not link.yields and link.live is live]
        return found[number % len(found)] if found else None

    def dial(self, who: spiffe.AgentId) -> int:
        self.opened += 1
        self.links[self.opened] = Seen(who)
        self.feed(LinkOpened(self.opened, names.ALPN_LINK, "192.0.2.1:4000", who, b"cert", b"n" * 32))
        return self.opened

    def greet(self, number: int, slot: str, epoch: int) -> None:
        """A hello on a new link, and what may follow from it."""
        link = self.links[number]
        link.slot, link.epoch = slot, epoch
        rivals = [other.epoch for other in self.links.values() if other.place == link.place and other.live]
        hello = frames_pb2.Hello(min_version=1, max_version=1, slot=slot, epoch=epoch)
        self.feed(FrameCame(number, frames_pb2.Frame(hello=hello)))
        if rivals and epoch <= max(rivals):
            assert not link.welcomed, "a lower epoch won"
        elif rivals and self.script.state.draining is None:
            assert link.live, "a higher epoch did not get the slot of a live session of its own"

    def say_register(self, number: int, uids: list[str]) -> None:
        self.feed(FrameCame(number, frames_pb2.Frame(register=frames_pb2.Register(tunnel_uids=uids))))

    def serve(self, who: spiffe.AgentId, slot: str) -> None:
        """As a whole agent does it; if it is admitted, it has the visitors of all that it may serve at once."""
        link = self.dial(who)
        self.epoch += 1
        if not self.links[link].over:
            self.greet(link, slot, self.epoch)
        if (seen := self.links[link]).live:
            self.say_register(link, sorted(seen.offered))
            assert seen.visitors_of == seen.offered

    # --- what happens ------------------------------------------------------------------------------------------------
    @initialize()
    def all_may(self) -> None:
        self.feed(DirectoryChanged(Directory(dict.fromkeys(TOKENS, "a/b"), dict.fromkeys(TOKENS, (BLOG, SHOP)))))

    @rule(who=some_agent)
    def connect(self, who: spiffe.AgentId) -> None:
        self.dial(who)

    @rule(number=some_link, slot=some_slot, epoch=some_epoch)
    def hello(self, number: int, slot: str, epoch: int) -> None:
        if (link := self.pick(number, live=False)) is not None:
            self.greet(link, slot, epoch)

    @rule(number=some_link)
    def hello_again(self, number: int) -> None:
        if (link := self.pick(number, live=True)) is not None:
            seen = self.links[link]
            again = frames_pb2.Hello(min_version=1, max_version=1, slot=seen.slot, epoch=seen.epoch + 1)
            self.feed(FrameCame(link, frames_pb2.Frame(hello=again)))
            assert seen.over

    @rule(number=some_link, uids=st.lists(st.sampled_from(UIDS), max_size=3))
    def register(self, number: int, uids: list[str]) -> None:
        if (link := self.pick(number, live=True)) is not None:
            self.say_register(link, uids)
            assert self.links[link].over is not self.links[link].ever_offered.issuperset(uids)

    @rule(who=some_agent, slot=some_slot)
    def starts(self, who: spiffe.AgentId, slot: str) -> None:
        self.serve(who, slot)

    @rule(number=some_link)
    def starts_again_after_kill_9(self, number: int) -> None:
        """The exit node has not noticed that the old link is dead."""
        if (old := self.pick(number, live=True)) is not None:
            self.serve(self.links[old].who, self.links[old].slot)

    @rule(number=some_link, back=st.integers(min_value=0, max_value=3))
    def a_twin_with_an_older_epoch_comes(self, number: int, back: int) -> None:
        if (first := self.pick(number, live=True)) is not None:
            seen = self.links[first]
            twin = self.dial(seen.who)
            if not self.links[twin].over:
                self.greet(twin, seen.slot, max(0, seen.epoch - back))
                assert seen.live

    @rule(number=some_link)
    def who_was_refused_goes_on_speaking(self, number: int) -> None:
        over = [key for key, link in self.links.items() if link.over]
        if over:
            self.say_register(over[number % len(over)], UIDS[:2])

    @rule(number=some_link)
    def the_link_is_lost(self, number: int) -> None:
        if self.links:
            key = sorted(self.links)[number % len(self.links)]
            del self.links[key]
            self.feed(LinkClosed(key))

    @rule(first=st.none() | some_offer, second=st.none() | some_offer)
    def tokens_and_offers_change(self, first: tuple[object, ...] | None, second: tuple[object, ...] | None) -> None:
        """None: the token is revoked."""
        offers = {token: offer for token, offer in zip(TOKENS, (first, second), strict=True) if offer is not None}
        tokens = dict.fromkeys(offers, "a/b")
        self.feed(DirectoryChanged(Directory(tokens, offers)))  # type: ignore[arg-type]  # offers, by the strategy
        assert not any(link.live and link.who.token_uid not in tokens for link in self.links.values())

    @rule(synced=st.booleans())
    def operator_comes_or_goes(self, synced: bool) -> None:
        self.feed(OperatorChanged(synced))

    @precondition(lambda self: self.script.state.draining is None and self.opened > 12)
    @rule()
    def drain(self) -> None:
        self.feed(DrainStarted(5000, "SIGTERM"))

    @rule(seconds=st.sampled_from([0.1, 6.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.script.at += seconds
        self.feed(Tick())
        fences = self.script.state.fences
        assert sum(not fence.link for fence in fences.values()) <= LIMITS.dead_fences

    @rule(back=st.integers(min_value=1, max_value=4))
    def an_agents_clock_and_file_go_back(self, back: int) -> None:
        """Its next epochs are those of the past."""
        self.epoch = max(5, self.epoch - back)

    # --- what always holds -------------------------------------------------------------------------------------------
    @invariant()
    def a_slots_visitors_have_one_place_to_go_to(self) -> None:
        taken: set[tuple[tuple[str, str, str], str]] = set()
        for link in self.links.values():
            served = {(link.place, uid) for uid in link.visitors_of}
            assert not served & taken
            taken |= served

    @invariant()
    def visitors_go_only_where_they_were_offered(self) -> None:
        directory = self.script.state.directory
        for link in self.links.values():
            assert link.visitors_of <= link.offered
            assert link.visitors_of <= {tunnel.uid for tunnel in directory.offer(link.who.token_uid)}

    @invariant()
    def tables_are_bounded_and_hold_what_is_up(self) -> None:
        state = self.script.state
        assert len(state.links) <= LIMITS.links
        assert set(state.links) <= set(self.links)
        assert all(not fence.link or fence.link in state.links for fence in state.fences.values())
        places = [link.place for link in self.links.values() if link.live]
        assert len(set(places)) <= LIMITS.sessions
        assert all(sum(place[0] == token for place in set(places)) <= LIMITS.sessions_per_token for token in TOKENS)
        for key, link in state.links.items():
            assert (link.phase is Phase.ACTIVE) == self.links[key].live
            assert frozenset(link.registered) == self.links[key].visitors_of


Fencing.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)
TestFencing = Fencing.TestCase
