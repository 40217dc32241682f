"""Which tunnel an agent serves: a table of offers and wishes."""

import pytest

from hawse_agent import choice
from hawse_agent.choice import NoSuch, Offered, OtherKind, Route, Serve, Several, Wait, Wanted
from hawse_agent.target import Target

HERE, THERE = Target("localhost", 3000), Target("localhost", 4000)
SHOP = Offered("u1", "team-a", "shop", "https://shop.example/")
API = Offered("u2", "team-a", "api", "https://api.example/")
SHOP_AGAIN = Offered("u3", "team-a", "shop", "https://shop.example/")
ANY = Wanted((("", HERE),))
NAMED = Wanted((("shop", HERE),))
DB = Offered("u4", "team-a", "db", "tcp://tcp-20017.example:20017", is_tcp=True)
HTTP, TCP = Wanted((("", HERE),), tcp=False), Wanted((("", HERE),), tcp=True)
TCP_NAMED = Wanted((("shop", HERE),), tcp=True)
LIST = Wanted((("shop", HERE), ("api", THERE)), wait=True)


@pytest.mark.parametrize(
    ("wanted", "offered", "last", "expected"),
    [
        pytest.param(ANY, (), "", Wait(), id="nothing offered: wait"),
        pytest.param(ANY, (SHOP,), "", Serve((Route(SHOP, HERE),)), id="the only one is served"),
        pytest.param(ANY, (SHOP, API), "", Several((API, SHOP)), id="several: nobody said which"),
        pytest.param(ANY, (SHOP, API), "shop", Serve((Route(SHOP, HERE),)), id="several: the one served before"),
        pytest.param(ANY, (SHOP_AGAIN,), "shop", Serve((Route(SHOP_AGAIN, HERE),)), id="applied again: new uid"),
        pytest.param(ANY, (API,), "shop", Serve((Route(API, HERE),)), id="replaced by another: the only one"),
        pytest.param(NAMED, (SHOP, API), "", Serve((Route(SHOP, HERE),)), id="named among several"),
        pytest.param(NAMED, (), "", Wait(("shop",)), id="named, nothing offered: wait"),
        pytest.param(NAMED, (API,), "", NoSuch("shop", (API,)), id="named, only others offered"),
        pytest.param(LIST, (SHOP, API), "", Serve((Route(SHOP, HERE), Route(API, THERE))), id="list, whole"),
        pytest.param(LIST, (API,), "", Serve((Route(API, THERE),), ("shop",)), id="list, one missing"),
        pytest.param(LIST, (), "", Wait(("shop", "api")), id="list, nothing offered"),
        pytest.param(HTTP, (SHOP, DB), "", Serve((Route(SHOP, HERE),)), id="the only one of its kind is served"),
        pytest.param(TCP, (SHOP, DB, API), "", Serve((Route(DB, HERE),)), id="the only TCP tunnel"),
        pytest.param(HTTP, (DB,), "", OtherKind((DB,)), id="only TCP tunnels for hawse http"),
        pytest.param(TCP, (SHOP,), "", OtherKind((SHOP,)), id="only HTTP tunnels for hawse tcp"),
        pytest.param(TCP, (), "", Wait(), id="nothing offered for hawse tcp: wait"),
        pytest.param(TCP_NAMED, (SHOP, DB), "", OtherKind((SHOP,)), id="named, of the other kind"),
        pytest.param(ANY, (DB,), "", Serve((Route(DB, HERE),)), id="a list takes any kind"),
    ],
)
def test_the_choice_is(wanted: Wanted, offered: tuple[Offered, ...], last: str, expected: choice.Choice) -> None:
    assert choice.choose(wanted, offered, last) == expected


def test_a_list_waits_even_if_only_others_are_offered() -> None:
    wanted = Wanted((("shop", HERE),), wait=True)
    assert choice.choose(wanted, (API,)) == Wait(("shop",), (API,))
