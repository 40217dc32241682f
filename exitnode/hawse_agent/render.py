"""Words and pictures: notices as lines, as JSON, and the live view of a terminal. Pure; views.py writes them.

One line a notice, no colours; what failed, where, what to do.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hawse_agent import notices, words
from hawse_agent.choice import Offered, Route
from hawse_agent.errors import with_code
from hawse_api import names

_NOT_LISTENING = names.BY_NAME["APP_NOT_LISTENING"].code
_LINKED = ("connected", "draining")
_NO_TUNNEL = names.BY_NAME["NO_TUNNEL"].code


@dataclass(frozen=True, slots=True)
class NodePicture:
    """One exit node in the live view and in `hawse status`."""

    name: str
    region: str
    address: str
    state: str
    """connected | draining | connecting | waiting"""
    transport: str
    rtt_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What an agent does right now."""

    token: str
    routes: tuple[Route, ...]
    nodes: tuple[NodePicture, ...]
    streams_open: int = 0
    streams_total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    uptime_s: float = 0.0
    certificate_expires: str = ""


def line(notice: notices.Notice) -> str:
    """One line for people, without "hawse: "."""
    match notice:
        case notices.Connected(exit_node, region, address, _, transport):
            return (
                f"connected to {words.printable(exit_node, 63)} ({words.printable(region, 63)}) at {address} "
                f"over {transport}"
            )
        case notices.Moved(exit_node):
            return f"moved to QUIC at {words.printable(exit_node, 63)}"
        case notices.Serving(routes, missing):
            return _serving(routes, missing)
        case notices.Waiting():
            return _waiting(notice)
        case notices.Lost(where, why, code, retry_s, others):
            rest = f"{others} other session{'s' * (others != 1)} still up" if others else "no other session"
            return f"lost {where}: {_why(why, code)}; connecting again in {retry_s:.1f} s ({rest})"
        case notices.DialFailed(address, why, code, retry_s):
            return f"{address} cannot be reached: {_why(why, code)}; trying again in {retry_s:.1f} s"
        case notices.Draining(exit_node, reason, deadline_s):
            why = f" ({words.printable(reason)})" if reason else ""
            return f"{exit_node} stops in {deadline_s:.0f} s{why}; requests under way may finish"
        case notices.NotListening(target):
            text = f"nothing listens on {target} yet. Start your app; until then visitors get a 502"
            return with_code(text, _NOT_LISTENING)
        case notices.Listening(target):
            return f"{target} answers now"
        case notices.Renewed(expires):
            return f"certificate renewed, valid until {expires}"
        case notices.RenewalFailed(why, code, expires_in_s):
            left = words.duration(expires_in_s)
            return f"the certificate could not be renewed: {_why(why, code)}; it is good for {left}"
        case notices.Note(text):
            return text


def as_json(notice: notices.Notice) -> str:
    """One JSON object; "event" is the notice's name."""
    plain = dataclasses.asdict(notice)
    match notice:
        case notices.Serving(routes, _):
            plain["routes"] = [_route(one) for one in routes]
        case notices.NotListening():
            plain["code"] = _NOT_LISTENING
        case notices.Waiting():
            plain["code"] = _NO_TUNNEL
    event = type(notice).__name__
    return json.dumps({"event": event[0].lower() + event[1:], **plain, "message": line(notice)})


def is_warning(notice: notices.Notice) -> bool:
    """Does it need attention?"""
    return isinstance(notice, notices.NotListening | notices.RenewalFailed | notices.Lost | notices.DialFailed)


def view(picture: Picture, width: int) -> list[str]:
    """The live view: URL first, then exit nodes, then counters."""
    lines = []
    for route in picture.routes:
        lines += [f"  {route.tunnel.url}", f"    -> http://{route.target}"]
    if not picture.routes:
        linked = any(node.state in _LINKED for node in picture.nodes)
        waiting = f"waiting for a Tunnel that names {picture.token}" if linked else "connecting to the exit nodes"
        lines.append(f"  {waiting}")
    lines += ["", *table(("EXIT NODE", "REGION", "ADDRESS", "STATE", "TRANSPORT", "RTT"), map(_cells, picture.nodes))]
    lines += [
        "",
        f"  connections {picture.streams_open} open, {picture.streams_total} in all   "
        f"in {words.size(picture.bytes_in)}   out {words.size(picture.bytes_out)}   "
        f"up {words.duration(picture.uptime_s)}",
        "  Ctrl-C stops it",
    ]
    return [text[: max(width - 1, 20)] for text in lines]


def table(head: Sequence[str], rows: "Any", indent: str = "  ") -> list[str]:
    """Columns as wide as their widest cell."""
    whole = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in whole
    ]


def picture_json(picture: Picture) -> Mapping[str, Any]:
    """For the file that `hawse status` reads and for --json."""
    return {
        "token": picture.token,
        "tunnels": [_route(one) for one in picture.routes],
        "exit_nodes": [dataclasses.asdict(node) for node in picture.nodes],
        "connections_open": picture.streams_open,
        "connections_total": picture.streams_total,
        "bytes_in": picture.bytes_in,
        "bytes_out": picture.bytes_out,
        "uptime_s": round(picture.uptime_s, 1),
        "certificate_expires": picture.certificate_expires,
    }


def _cells(node: NodePicture) -> tuple[str, ...]:
    connected = node.state in _LINKED
    state = node.state if connected or not node.why else f"{node.state}: {words.printable(node.why, 60)}"
    rtt = f"{node.rtt_ms} ms" if connected else "-"
    return (node.name or "-", node.region or "-", node.address, state, node.transport if connected else "-", rtt)


def _route(route: Route) -> dict[str, str]:
    tunnel: Offered = route.tunnel
    return {"tunnel": tunnel.name, "namespace": tunnel.namespace, "url": tunnel.url, "to": str(route.target)}


def _serving(routes: tuple[Route, ...], missing: tuple[str, ...]) -> str:
    text = "; ".join(f"{one.tunnel.url} -> {'tcp' if one.tunnel.is_tcp else 'http'}://{one.target}" for one in routes)
    return f"serving {text}" + (f"; not offered yet: {words.listing(missing)}" if missing else "")


def _waiting(notice: notices.Waiting) -> str:
    if notice.gone:
        lead = f"the Tunnel {words.listing(notice.gone)} is gone"
    elif notice.missing:
        lead = f"no Tunnel {words.listing(notice.missing)} names the token {notice.token} yet"
    else:
        lead = f"no Tunnel names the token {notice.token} yet"
    offered = f"; offered: {words.listing([one.name for one in notice.offered])}" if notice.offered else ""
    return f"{lead} ({_NO_TUNNEL}){offered}. Waiting for it: kubectl apply -f tunnel.yaml"


def _why(why: str, code: str) -> str:
    text = words.printable(why).rstrip(".") or "no reason given"
    return text if not code or code in text else f"{text} ({code})"
