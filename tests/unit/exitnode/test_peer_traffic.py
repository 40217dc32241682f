"""What was carried to peers never falls, though links come and go."""

from hawse_api.ir import core_pb2
from hawse_exitnode.peer_traffic import Carried, PeerTraffic


def stats(link: int, streams: int) -> core_pb2.LinkStats:
    return core_pb2.LinkStats(link=link, streams_total=streams, bytes_in=10 * streams, bytes_out=100 * streams)


def carried(streams: int) -> Carried:
    return Carried(streams, 10 * streams, 100 * streams)


def test_links_are_summed_by_region_and_those_of_agents_are_left_out() -> None:
    regions = {1: "eu", 2: "us", 3: "us"}
    found = PeerTraffic().look([stats(1, 1), stats(2, 2), stats(3, 3), stats(4, 4)], regions)
    assert found == {"eu": carried(1), "us": carried(5)}


def test_what_a_lost_link_had_carried_stays() -> None:
    traffic = PeerTraffic()
    traffic.look([stats(1, 5)], {1: "us"})
    assert traffic.look([], {}) == {"us": carried(5)}
    assert traffic.look([stats(2, 3)], {2: "us"}) == {"us": carried(8)}
    assert traffic.look([stats(2, 4)], {2: "us"}) == {"us": carried(9)}
