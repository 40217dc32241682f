"""A session table on a script: feeds events of an exit node, remembers the commands that came out last."""

import dataclasses
from typing import Any

from hawse_api import names, spiffe
from hawse_api.ir import frames_pb2
from hawse_exitnode import sessions
from hawse_exitnode.directory import Directory, Offered
from hawse_exitnode.session_state import (
    Bind,
    Close,
    Command,
    Event,
    FrameCame,
    LinkOpened,
    Moment,
    NodeFacts,
    Relay,
    Send,
    State,
)

NODE = NodeFacts("0.1.0", "eu-west-1", "eu-west", "eu-west-1-abc", "tunnels.localhost")
SHOP = Offered("uid-shop", "team-a", "shop", "shop.tunnels.localhost", "https://shop.tunnels.localhost/", "HTTP1")
BLOG = Offered("uid-blog", "team-a", "blog", "blog.tunnels.localhost", "https://blog.tunnels.localhost/", "HTTP1")
DIRECTORY = Directory({"token-1": "team-a/laptop"}, {"token-1": (SHOP,)})
WHO = spiffe.AgentId("tunnels.localhost", "team-a", "token-1", "agent-1")
NONCE = b"n" * 32


class Script:
    """Feeds events and remembers what came out last."""

    def __init__(self, **state: Any) -> None:
        self.state = State(NODE, directory=DIRECTORY, synced=True)
        self.state = dataclasses.replace(self.state, **state)
        self.at = 100.0
        self.out: tuple[Command, ...] = ()

    def feed(self, event: Event) -> tuple[Command, ...]:
        self.state, self.out = sessions.step(self.state, event, Moment(self.at, 1_000_000.0 + self.at))
        return self.out

    def open(self, link: int = 1, who: spiffe.AgentId | None = WHO, alpn: str = names.ALPN_LINK) -> tuple[Command, ...]:
        return self.feed(LinkOpened(link, alpn, f"192.0.2.{link}:4000", who, b"cert", NONCE))

    def say(self, link: int = 1, **frame: Any) -> tuple[Command, ...]:
        return self.feed(FrameCame(link, frames_pb2.Frame(**frame)))

    def hello(self, link: int = 1, **changes: Any) -> tuple[Command, ...]:
        fields: dict[str, Any] = {
            "min_version": 1,
            "max_version": 1,
            "agent_version": "0.1.0",
            "hostname": "laptop",
            "slot": "a",
            "epoch": 10,
        }
        return self.say(link, hello=frames_pb2.Hello(**(fields | changes)))

    def admit(self, link: int = 1, who: spiffe.AgentId = WHO, **changes: Any) -> tuple[Command, ...]:
        self.open(link, who)
        return self.hello(link, **changes)

    def register(self, *uids: str, link: int = 1) -> tuple[Command, ...]:
        return self.say(link, register=frames_pb2.Register(tunnel_uids=uids))

    def kinds(self) -> list[str]:
        return [kind_of(command) for command in self.out]

    def refusal(self, link: int = 1) -> frames_pb2.Refused:
        for command in self.out:
            if isinstance(command, Send) and command.link == link:
                frame = command.frame
                if frame.WhichOneof("frame") == "refused":
                    return frame.refused
                if frame.WhichOneof("frame") == "enrolled":
                    return frame.enrolled.refused
                if frame.WhichOneof("frame") == "renewed":
                    return frame.renewed.refused
        raise AssertionError(f"link {link} was not refused: {self.out}")


def kind_of(command: Command) -> str:
    match command:
        case Send(link, frame):
            return f"{link}:{frame.WhichOneof('frame')}"
        case Close(link, code, _):
            return f"{link}:close {code}"
        case Bind(link, uids):
            return f"{link}:bind {','.join(uids)}"
        case Relay():
            return "relay"


def sent(out: tuple[Command, ...], kind: str) -> Any:
    found = [c.frame for c in out if isinstance(c, Send) and c.frame.WhichOneof("frame") == kind]
    return getattr(found[0], kind)
