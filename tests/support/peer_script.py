"""A table of peers on a script: feeds events of one exit node, remembers the commands that came out last."""

import dataclasses
from typing import Any

from hawse_api.ir import frames_pb2
from hawse_exitnode import peers
from hawse_exitnode.peer_state import (
    Admit,
    Close,
    Command,
    DialPeer,
    Event,
    FrameCame,
    LinkAccepted,
    LinkClosed,
    LinkDialled,
    Note,
    Peer,
    PeersListed,
    Reach,
    SelfNamed,
    Send,
    ServingChanged,
    State,
    Tick,
)
from hawse_exitnode.session_state import NodeFacts

DOMAIN = "tunnels.localhost"


def peer(pod: str, region: str = "us-east", **changes: str) -> Peer:
    """A pod of the exit node that is called as its region."""
    spiffe_id = f"spiffe://{DOMAIN}/exitnode/{region}-1/{pod}"
    made = Peer(f"uid-{pod}", pod, f"{region}-1", region, f"10.0.0.1:{len(pod)}", spiffe_id)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # fields by name


SELF = peer("me", "eu-west")
NEAR = peer("near", "eu-west")
FAR = peer("far")
NODE = NodeFacts("0.1.0", SELF.exit_node, SELF.region, SELF.pod, DOMAIN)


class Script:
    """Feeds events; `luck` 0 makes pauses short, 1 long."""

    def __init__(self, *listed: Peer, node: NodeFacts = NODE, **state: Any) -> None:
        self.state = dataclasses.replace(State(NodeFacts("0.1.0", "", "", node.pod, "")), **state)
        self.at = 100.0
        self.luck = 0.0
        self.out: tuple[Command, ...] = ()
        self.feed(PeersListed(listed))
        self.feed(SelfNamed(node))

    def feed(self, event: Event) -> tuple[Command, ...]:
        self.state, self.out = peers.step(self.state, event, at=self.at, luck=self.luck)
        return self.out

    def wait(self, seconds: float) -> tuple[Command, ...]:
        self.at += seconds
        return self.feed(Tick())

    def relist(self, *listed: Peer) -> tuple[Command, ...]:
        return self.feed(PeersListed(listed))

    def attempt(self, whom: Peer = FAR) -> int:
        """Number of the dial that is under way."""
        return self.state.dials[whom.spiffe_id].attempt

    def dialled(self, link: int = 1, whom: Peer = FAR, who: str = "") -> tuple[Command, ...]:
        return self.feed(LinkDialled(self.attempt(whom), link, who or whom.spiffe_id))

    def reach(self, link: int = 1, whom: Peer = FAR) -> tuple[Command, ...]:
        """The peer is dialled and welcomes us."""
        self.dialled(link, whom)
        return self.say(link, peer_welcome=frames_pb2.PeerWelcome(version=1, node_version="0.2.0"))

    def accept(self, link: int = 1, who: str = FAR.spiffe_id) -> tuple[Command, ...]:
        return self.feed(LinkAccepted(link, who))

    def hello(self, link: int = 1, low: int = 1, high: int = 1) -> tuple[Command, ...]:
        return self.say(link, peer_hello=frames_pb2.PeerHello(min_version=low, max_version=high, node_version="0.2.0"))

    def serve(self, *tunnel_uids: str) -> tuple[Command, ...]:
        """Own agents serve these."""
        return self.feed(ServingChanged(frozenset(tunnel_uids)))

    def hear(self, *add: str, remove: tuple[str, ...] = (), reset: bool = False, link: int = 1) -> tuple[Command, ...]:
        return self.say(link, announce=frames_pb2.Announce(reset=reset, add=add, remove=remove))

    def say(self, link: int = 1, **frame: Any) -> tuple[Command, ...]:
        return self.feed(FrameCame(link, frames_pb2.Frame(**frame)))

    def close(self, link: int = 1, why: str = "gone") -> tuple[Command, ...]:
        return self.feed(LinkClosed(link, why))

    def kinds(self) -> list[str]:
        return [kind_of(command) for command in self.out]


def kind_of(command: Command) -> str:
    match command:
        case DialPeer(_, peer):
            return f"dial {peer.pod}"
        case Send(link, frame) if frame.WhichOneof("frame") == "announce":
            said = frame.announce
            changes = [*(f"+{uid}" for uid in said.add), *(f"-{uid}" for uid in said.remove)]
            return " ".join([f"{link}:announce", *(["reset"] if said.reset else []), *changes])
        case Send(link, frame):
            return f"{link}:{frame.WhichOneof('frame')}"
        case Close(link, code, _):
            return f"{link}:close {code}"
        case Admit(link):
            return f"{link}:admit"
        case Reach(link, distance, add, remove):
            changes = [*(f"+{uid}" for uid in add), *(f"-{uid}" for uid in remove)]
            return " ".join([f"{link}:reach", str(distance), *changes])
        case Note(event):
            return event
