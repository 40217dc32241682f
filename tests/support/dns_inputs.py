"""Fleets as DNS sees them, by chance: for properties of the plan and of the Lua text."""

from ipaddress import ip_network

from hypothesis import strategies as st

from hawse_operator.dns import plan
from hawse_operator.dns.plan import Near, Placed, PlanInput
from hawse_operator.dns.weights import Node

nasty = st.text(st.sampled_from("\"'\\;(){}[]=-ab os.execute\n\x00é"), min_size=1, max_size=12)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
nodes = st.lists(
    st.builds(
        Node,
        name=nasty,
        region=nasty,
        weight=st.integers(0, 1_000_000),
        drains=st.booleans(),
        ready=st.integers(0, 3),
        wanted=st.integers(0, 3),
        addresses=st.lists(addresses, max_size=3).map(tuple),
        port=st.sampled_from([443, 8443]),
        location=st.none(),
    ),
    max_size=6,
)


@st.composite
def inputs(draw: st.DrawFn) -> PlanInput:
    found = tuple(draw(nodes))
    regions = draw(st.lists(st.sampled_from([one.region for one in found] or ["none"]), max_size=3, unique=True))
    networks = st.lists(st.ip_addresses().map(lambda a: ip_network(a)), min_size=1, max_size=3).map(tuple)
    return PlanInput(
        domain="t.example.com",
        ttl_s=20,
        nodes=found,
        near=tuple(Near(region, draw(networks)) for region in regions),
        placed=tuple(
            Placed("uid", "shop.t.example.com", policy, tuple((region, draw(st.integers(0, 9))) for region in regions))
            for policy in draw(st.lists(st.sampled_from(list(plan.Policy)), max_size=1))
        ),
        sticky=draw(st.booleans()),
    )
