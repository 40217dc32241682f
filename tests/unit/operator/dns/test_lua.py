"""Text of LUA records: what it says, and what can never get into it."""

import re
from ipaddress import ip_address, ip_network

from hypothesis import given

from hawse_operator.dns import lua, plan
from hawse_operator.dns.plan import PlanInput
from hawse_operator.dns.records import Answer, Endpoint, Pool, View
from support.dns_inputs import inputs

ONE, TWO, SIX = (Endpoint(ip_address(text), 443, 3) for text in ("192.0.2.1", "192.0.2.2", "2001:db8::1"))
ADDRESS = re.compile(r"'[0-9a-f.:/]+'")
LUA = (
    "U C P p a r l t x v e i T local function ifportup selector backupSelector all for in ipairs do if then elseif end "
    "return true while table remove pickwrandom pickwhashed netmask A AAAA _"
)
WORDS = frozenset(LUA.split())


def test_a_pool_of_both_families_becomes_two_records() -> None:
    contents = lua.render(Pool(((ONE, SIX),)))
    assert [content.split(" ")[0] for content in contents] == ["A", "AAAA"]
    assert "'192.0.2.1'" in contents[0]
    assert "2001:db8" not in contents[0]
    assert "'2001:db8::1'" in contents[1]


def test_an_empty_pool_becomes_no_record() -> None:
    assert lua.render(Pool(())) == ()


def test_spare_endpoints_answer_where_a_family_has_no_others() -> None:
    (_, six) = lua.render(Pool(((ONE,),), spare=(SIX,)))
    assert "{{3,'2001:db8::1'}}" in six


def test_every_port_is_checked_with_an_address_that_is_never_up() -> None:
    other = Endpoint(ip_address("192.0.2.9"), 8443, 1)
    (text,) = lua.render(Pool(((ONE, TWO, other),)))
    assert "C(443,{'192.0.2.1','192.0.2.2','255.255.255.255'})" in text
    assert "C(8443,{'192.0.2.9','255.255.255.255'})" in text


def test_views_come_before_the_rest_and_each_ends_with_the_spare() -> None:
    views = (View((ip_network("10.1.0.0/16"),), ((TWO,), (ONE,))), View((ip_network("10.2.0.0/16"),), ((ONE,),)))
    (text,) = lua.render(Pool(((ONE, TWO),), views=views))
    assert "if netmask({'10.1.0.0/16'}) then T={{{3,'192.0.2.2'}},{{3,'192.0.2.1'}}} elseif netmask(" in text


def test_sticky_pools_hash_and_all_pools_do_not_choose() -> None:
    (sticky,) = lua.render(Pool(((ONE, TWO),), sticky=True))
    assert "pickwhashed" in sticky
    assert "pickwrandom" not in sticky
    (whole,) = lua.render(Pool(((ONE, TWO),), answer=Answer.ALL))
    assert "pickw" not in whole


@given(inputs())
def test_no_name_ever_reaches_the_text(given_input: PlanInput) -> None:
    for record in plan.build_plan(given_input).records:
        for content in lua.render(record.pool):
            assert content.count('"') == 2
            assert content.endswith('"')
            assert "\\" not in content
            rest = ADDRESS.sub("", content).replace("'all'", "")
            assert "'" not in rest
            assert set(re.findall(r"[A-Za-z_]\w*", rest)) <= WORDS, rest
