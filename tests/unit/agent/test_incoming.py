"""Frames and events of the core as events of the session table."""

import pytest

from hawse_agent import incoming, moves
from hawse_agent.choice import Offered
from hawse_agent.endings import Failure
from hawse_api.ir import frames_pb2 as f
from hawse_tunnel import errors
from hawse_tunnel.events import EndedBy, LinkDown


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (
            f.Frame(welcome=f.Welcome(version=1, node_version="0.1.0", exit_node="eu-west-1", region="eu-west")),
            moves.Welcomed(7, "eu-west-1", "eu-west", "0.1.0"),
        ),
        (
            f.Frame(refused=f.Refused(code="HAWSE-2003", message="deleted", final=True)),
            moves.RefusedByNode(7, Failure("deleted", "HAWSE-2003", final=True)),
        ),
        (
            f.Frame(refused=f.Refused(code="HAWSE-2003")),
            moves.RefusedByNode(7, Failure("The AgentToken was deleted: its agents are cut off.", "HAWSE-2003")),
        ),
        (
            f.Frame(refused=f.Refused(code="HAWSE-9999\x1b", message="new\nthing")),
            moves.RefusedByNode(7, Failure("new thing", "")),
        ),
        (
            f.Frame(offer=f.Offer(tunnels=[f.OfferedTunnel(uid="u", namespace="n", name="shop", url="https://x/")])),
            moves.OfferChanged(7, (Offered("u", "n", "shop", "https://x/"),)),
        ),
        (
            f.Frame(offer=f.Offer(addresses=["192.0.2.1:7443", "nonsense", "192.0.2.2:7443"], tcp_ports=[8443])),
            moves.OfferChanged(7, (), ("192.0.2.1:7443", "192.0.2.2:7443"), (8443, 0)),
        ),
        (f.Frame(registered=f.Registered(tunnel_uids=["u"])), moves.RegistrationChanged(7, frozenset({"u"}))),
        (f.Frame(drain=f.Drain(deadline_ms=1500, reason="update")), moves.DrainStarted(7, 1.5, "update")),
        (f.Frame(hello=f.Hello()), None),
        (f.Frame(), None),
    ],
)
def test_a_frame_becomes(frame: f.Frame, event: moves.Event | None) -> None:
    assert incoming.of_frame(7, frame) == event


@pytest.mark.parametrize(("version", "side"), [(2, "Update hawse on this machine"), (0, "Update the exit node")])
def test_a_version_we_do_not_speak_says_which_side_to_update(version: int, side: str) -> None:
    event = incoming.of_frame(7, f.Frame(welcome=f.Welcome(version=version, node_version="9.0.0")))
    assert isinstance(event, moves.RefusedByNode)
    assert (event.failure.code, event.failure.final) == ("HAWSE-2002", True)
    assert side in event.failure.why


@pytest.mark.parametrize(
    ("down", "failure"),
    [
        (LinkDown(7, 2003, "deleted", EndedBy.PEER), Failure("deleted", "HAWSE-2003")),
        (
            LinkDown(7, 2015, "", EndedBy.PEER),
            Failure("The exit node is stopping.", "HAWSE-2015"),
        ),
        (LinkDown(7, 0, "", EndedBy.PEER), Failure("the exit node closed the connection")),
        (LinkDown(7, 2003, "", EndedBy.US), Failure("the connection broke")),
        (
            LinkDown(7, 0, "", EndedBy.TIMEOUT),
            Failure("nothing was heard from it (network lost, or the exit node died)"),
        ),
        (LinkDown(7, 0, "reset", EndedBy.TRANSPORT), Failure("reset")),
        (LinkDown(7, 0, "gone", EndedBy.RESTART), Failure("it was started again", back=True)),
    ],
)
def test_an_end_of_a_link_becomes(down: LinkDown, failure: Failure) -> None:
    assert incoming.of_link_down(down) == moves.LinkLost(7, failure)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (errors.UnreachableError("timed out", "HAWSE-2001"), False),
        (errors.UntrustedError("unknown CA", "HAWSE-2011"), True),
        (errors.VersionError("update", "HAWSE-2002"), True),
        (errors.CertificateError("expired", "HAWSE-2014"), True),
    ],
)
def test_a_failed_dial_is_final_where_asking_again_cannot_help(error: errors.TunnelError, final: bool) -> None:
    assert incoming.of_dial_error(error).final is final
