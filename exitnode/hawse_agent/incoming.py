"""Frames and events of the core, translated into events of session.py and back into frames. Pure.

The only place of the agent that knows frames_pb2 for sessions; foreign text is bounded here. Called by runner.py.
"""

from collections.abc import Sequence

from hawse_agent import moves, trust, words
from hawse_agent.choice import Offered, Route
from hawse_agent.credentials import pair_addresses
from hawse_agent.endings import Failure
from hawse_api import names
from hawse_api.ir import core_pb2, frames_pb2
from hawse_tunnel import errors as tunnel_errors
from hawse_tunnel.events import EndedBy, LinkDown

MAX_OFFERED = 1000
"""More tunnels than this on one token are cut off: an offer is one 64 KiB frame anyway."""
_VERSION = names.BY_NAME["VERSION_MISMATCH"].code


def of_frame(link: int, frame: frames_pb2.Frame) -> moves.Event | None:
    """The event of a frame, or None for one that is not for the session table."""
    match frame.WhichOneof("frame"):
        case "welcome":
            return _welcome(link, frame.welcome)
        case "refused":
            refused = frame.refused
            known = names.BY_CODE.get(refused.code)
            why = words.printable(refused.message) or (known.title if known else "the exit node refused")
            failure = Failure(why, known.code if known else "", refused.final)
            return moves.RefusedByNode(link, failure, refused.epoch)
        case "offer":
            addresses, tcp_ports = pair_addresses(frame.offer.addresses[:MAX_OFFERED], frame.offer.tcp_ports)
            offered = tuple(_offered(one) for one in frame.offer.tunnels[:MAX_OFFERED])
            return moves.OfferChanged(link, offered, addresses, tcp_ports)
        case "registered":
            return moves.RegistrationChanged(link, frozenset(frame.registered.tunnel_uids[:MAX_OFFERED]))
        case "drain":
            return moves.DrainStarted(link, frame.drain.deadline_ms / 1000, words.printable(frame.drain.reason))
        case _:
            return None


def of_link_down(event: LinkDown) -> moves.LinkLost:
    """Why a link ended. A HAWSE code counts only when the node itself said it."""
    known = names.BY_CODE.get(f"HAWSE-{event.code}") if event.by is EndedBy.PEER else None
    reason = words.printable(event.reason)
    match event.by:
        case EndedBy.TIMEOUT:
            why = "nothing was heard from it (network lost, or the exit node died)"
        case EndedBy.RESTART:
            why = "it was started again"
        case EndedBy.PEER:
            why = reason or (known.title if known else "the exit node closed the connection")
        case _:
            why = reason or "the connection broke"
    failure = Failure(why, known.code if known else "", back=event.by is EndedBy.RESTART)
    return moves.LinkLost(event.link, failure)


def of_dial_error(error: tunnel_errors.TunnelError) -> Failure:
    """Why there is no link; final where asking again cannot help."""
    final = isinstance(
        error, tunnel_errors.UntrustedError | tunnel_errors.VersionError | tunnel_errors.CertificateError
    )
    why, code = trust.explain(error.message, error.code or "")
    return Failure(why, code, final)


def hello(*, version: str, hostname: str, slot: str, epoch: int) -> frames_pb2.Frame:
    """The first frame of a session."""
    return frames_pb2.Frame(
        hello=frames_pb2.Hello(
            min_version=names.PROTOCOL_MIN,
            max_version=names.PROTOCOL_MAX,
            agent_version=version,
            hostname=hostname,
            slot=slot,
            epoch=epoch,
        )
    )


def register(routes: Sequence[Route]) -> frames_pb2.Frame:
    """The tunnels that this session serves."""
    return frames_pb2.Frame(register=frames_pb2.Register(tunnel_uids=[route.tunnel.uid for route in routes]))


def dial_request(server_name: str, identity: core_pb2.Identity, timeout_s: float) -> core_pb2.DialRequest:
    """A dial for a session; dialling.py sets where to and how."""
    return core_pb2.DialRequest(
        server_name=server_name,
        alpn=names.ALPN_LINK,
        identity=identity,
        timeout_ms=round(timeout_s * 1000),
    )


def _welcome(link: int, welcome: frames_pb2.Welcome) -> moves.Event:
    if not names.PROTOCOL_MIN <= welcome.version <= names.PROTOCOL_MAX:
        newer = welcome.version > names.PROTOCOL_MAX
        side = "hawse on this machine" if newer else "the exit node"
        why = (
            f"exit node {words.printable(welcome.node_version, 40)} speaks version {welcome.version} of the protocol, "
            f"this agent {names.PROTOCOL_MIN} to {names.PROTOCOL_MAX}. Update {side}."
        )
        return moves.RefusedByNode(link, Failure(why, _VERSION, final=True))
    return moves.Welcomed(
        link,
        words.printable(welcome.exit_node, 63),
        words.printable(welcome.region, 63),
        words.printable(welcome.node_version, 40),
    )


def _offered(tunnel: frames_pb2.OfferedTunnel) -> Offered:
    return Offered(
        uid=tunnel.uid[:128],
        namespace=words.printable(tunnel.namespace, 253),
        name=words.printable(tunnel.name, 253),
        url=words.printable(tunnel.url, 300),
        is_tcp=tunnel.app_protocol == names.APP_PROTOCOL_TCP,
    )
