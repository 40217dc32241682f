"""Words and pictures."""

import io
import json

import pytest

from hawse_agent import notices, render, views
from hawse_agent.choice import Offered, Route
from hawse_agent.render import NodePicture, Picture
from hawse_agent.target import Target

SHOP = Offered("u1", "team-a", "shop", "https://shop.example/")
API = Offered("u2", "team-a", "api", "https://api.example/")
ROUTE = Route(SHOP, Target("localhost", 3000))
PICTURE = Picture(
    token="team-a/laptop",
    routes=(ROUTE,),
    nodes=(
        NodePicture("eu-west-1", "eu-west", "203.0.113.7:7443", "connected", "quic", 12, ""),
        NodePicture("", "", "203.0.113.8:7443", "waiting", "quic", 0, "timed out"),
    ),
    streams_open=2,
    streams_total=40,
    bytes_in=1500,
    bytes_out=20_000_000,
    uptime_s=3700,
)


@pytest.mark.parametrize(
    ("notice", "line"),
    [
        (
            notices.Connected("eu-west-1", "eu-west", "203.0.113.7:7443", "0.1.0"),
            "connected to eu-west-1 (eu-west) at 203.0.113.7:7443 over QUIC",
        ),
        (notices.Serving((ROUTE,), ()), "serving https://shop.example/ -> http://localhost:3000"),
        (
            notices.Serving((ROUTE,), ("api",)),
            "serving https://shop.example/ -> http://localhost:3000; not offered yet: api",
        ),
        (
            notices.Waiting((), (), (), "team-a/laptop"),
            "no Tunnel names the token team-a/laptop yet (HAWSE-2004). Waiting for it: kubectl apply -f tunnel.yaml",
        ),
        (
            notices.Waiting((), (), ("shop",), "team-a/laptop"),
            "the Tunnel shop is gone (HAWSE-2004). Waiting for it: kubectl apply -f tunnel.yaml",
        ),
        (
            notices.Waiting(("shop",), (API,), (), "team-a/laptop"),
            "no Tunnel shop names the token team-a/laptop yet (HAWSE-2004); offered: api. "
            "Waiting for it: kubectl apply -f tunnel.yaml",
        ),
        (
            notices.Lost("eu-west-1", "nothing was heard from it", "", 0.25, 1),
            "lost eu-west-1: nothing was heard from it; connecting again in 0.2 s (1 other session still up)",
        ),
        (
            notices.Lost("eu-west-1", "the exit node is stopping.", "HAWSE-2015", 1.0, 0),
            "lost eu-west-1: the exit node is stopping (HAWSE-2015); connecting again in 1.0 s (no other session)",
        ),
        (
            notices.DialFailed("203.0.113.8:7443", "timed out", "HAWSE-2001", 0.5),
            "203.0.113.8:7443 cannot be reached: timed out (HAWSE-2001); trying again in 0.5 s",
        ),
        (
            notices.Draining("eu-west-1", "rolling update", 30.0),
            "eu-west-1 stops in 30 s (rolling update); requests under way may finish",
        ),
        (
            notices.NotListening("localhost:3000"),
            "nothing listens on localhost:3000 yet (HAWSE-2006). Start your app; until then visitors get a 502",
        ),
        (notices.Listening("localhost:3000"), "localhost:3000 answers now"),
        (notices.Renewed("2026-11-25 06:33 UTC"), "certificate renewed, valid until 2026-11-25 06:33 UTC"),
        (
            notices.RenewalFailed("the operator is away", "HAWSE-3009", 7200),
            "the certificate could not be renewed: the operator is away (HAWSE-3009); it is good for 2 h",
        ),
        (notices.Note("as it is"), "as it is"),
    ],
)  # fmt: skip
def test_a_notice_is_one_line(notice: notices.Notice, line: str) -> None:
    assert render.line(notice) == line
    event = json.loads(render.as_json(notice))
    assert event["message"] == line


def test_json_has_the_url_and_the_target() -> None:
    event = json.loads(render.as_json(notices.Serving((ROUTE,), ())))
    assert event["event"] == "serving"
    assert event["routes"] == [
        {"tunnel": "shop", "namespace": "team-a", "url": "https://shop.example/", "to": "localhost:3000"}
    ]


def test_the_live_view_begins_with_the_url() -> None:
    assert render.view(PICTURE, 120) == [
        "  https://shop.example/",
        "    -> http://localhost:3000",
        "",
        "  EXIT NODE  REGION   ADDRESS           STATE               TRANSPORT  RTT",
        "  eu-west-1  eu-west  203.0.113.7:7443  connected           quic       12 ms",
        "  -          -        203.0.113.8:7443  waiting: timed out  -          -",
        "",
        "  connections 2 open, 40 in all   in 1.5 kB   out 20 MB   up 1 h 1 min",
        "  Ctrl-C stops it",
    ]


def test_no_line_of_the_live_view_is_wider_than_the_terminal() -> None:
    assert max(len(line) for line in render.view(PICTURE, 40)) < 40


def test_plain_output_is_the_url_first_and_alone() -> None:
    out, err = io.StringIO(), io.StringIO()
    view = views.PlainView(out, err)
    view.tell(notices.Connected("eu-west-1", "eu-west", "203.0.113.7:7443", "0.1.0"))
    view.tell(notices.Serving((ROUTE,), ()))
    view.refresh(PICTURE)
    assert out.getvalue() == "https://shop.example/\n"
    assert all(line.startswith("hawse: ") for line in err.getvalue().splitlines())


def test_the_live_view_is_redrawn_in_place() -> None:
    out = io.StringIO()
    view = views.LiveView(out)
    view.refresh(PICTURE)
    view.refresh(PICTURE)
    assert out.getvalue().count("\x1b[9F\x1b[J") == 1
    view.tell(notices.NotListening("localhost:3000"))
    assert "hawse: nothing listens" in out.getvalue()


def test_a_reader_that_went_away_ends_nothing() -> None:
    out = io.StringIO()
    out.close()
    views.JsonView(out).tell(notices.Note("x"))


def test_a_foreign_name_cannot_move_the_cursor() -> None:
    line = render.line(notices.Connected("eu\x1b[2J", "r\n", "a", "v"))
    assert "\x1b" not in line
    assert "\n" not in line
