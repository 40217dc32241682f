"""The agent's session table on a script: events in, commands out, all of them remembered."""

from collections.abc import Sequence

from hawse_agent import moves, notices, session
from hawse_agent.choice import Offered, Wanted
from hawse_agent.endings import Failure
from hawse_agent.moves import Moment
from hawse_agent.session_state import Phase, State
from hawse_agent.target import Target

A, B = "203.0.113.7:7443", "203.0.113.8:7443"
APP = Target("localhost", 3000)
SHOP = Offered("u1", "team-a", "shop", "https://shop.example/")
SHOP_AGAIN = Offered("u9", "team-a", "shop", "https://shop.example/")
API = Offered("u2", "team-a", "api", "https://api.example/")
REFUSED = Failure("connection refused", "HAWSE-2001")


class Script:
    """Runs events against the table; remembers all commands."""

    def __init__(self, *addresses: str, wanted: Wanted | None = None, unix_ms: int = 1_000_000) -> None:
        self.at, self.unix_ms, self.luck = 100.0, unix_ms, 0.5
        self.commands: list[moves.Command] = []
        self.links = 0
        self.state: State = session.begin(
            wanted or Wanted((("", APP),)), addresses or (A,), self.now, slot="", token="team-a/laptop", epoch=0,
            patience_s=15,
        )  # fmt: skip
        self.send(moves.Tick())

    @property
    def now(self) -> Moment:
        return Moment(self.at, self.unix_ms, self.luck)

    def send(self, *events: moves.Event, after: float = 0.0) -> list[moves.Command]:
        self.at += after
        done: list[moves.Command] = []
        for event in events:
            self.state, commands = session.step(self.state, event, self.now)
            done += commands
        self.commands += done
        return done

    def connect(self, address: str = A, name: str = "eu-west-1") -> int:
        self.links += 1
        link = self.links
        self.send(moves.Dialled(address, link), moves.Welcomed(link, name, "eu-west", "0.1.0"))
        return link

    def serve(self, address: str = A, *offered: Offered) -> int:
        link = self.connect(address)
        self.send(moves.OfferChanged(link, offered or (SHOP,)))
        self.send(moves.RegistrationChanged(link, frozenset(one.uid for one in offered or (SHOP,))))
        return link

    def phase(self, address: str = A) -> Phase:
        return next(node.phase for node in self.state.nodes if node.address == address)


def told(commands: Sequence[moves.Command], kind: type[notices.Notice]) -> list[notices.Notice]:
    return [one.notice for one in commands if isinstance(one, moves.Tell) and isinstance(one.notice, kind)]


def ending(commands: Sequence[moves.Command]) -> tuple[str, int] | None:
    found = [one.ending for one in commands if isinstance(one, moves.Finish)]
    return (found[0].code, found[0].error.exit_code) if found else None
