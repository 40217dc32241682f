"""What agents may serve, read out of the IR."""

from hawse_api.ir import ir_pb2
from hawse_exitnode.directory import MAX_DELETED, Directory, build_directory


def token(uid: str, name: str = "laptop") -> ir_pb2.Object:
    return ir_pb2.Object(key=f"token/{uid}", token=ir_pb2.AgentToken(uid=uid, namespace="team-a", name=name))


def tunnel(uid: str, name: str, owner: str = "t1", **fields: object) -> ir_pb2.Object:
    made = ir_pb2.Tunnel(uid=uid, namespace="team-a", name=name, hostname=f"{name}.example.com")
    made.agent.token_uid = owner
    made.app_protocol = fields.get("app_protocol", ir_pb2.APP_PROTOCOL_HTTP1)  # type: ignore[assignment]
    return ir_pb2.Object(key=f"tunnel/{uid}", tunnel=made)


def fleet(port: int) -> ir_pb2.Object:
    return ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet(https_port=port))


def test_tunnels_are_offered_to_the_token_they_name_in_order_of_their_names() -> None:
    directory = build_directory(
        [tunnel("2", "shop"), tunnel("1", "blog"), tunnel("3", "x", "t2"), token("t1")], Directory()
    )
    assert [offered.name for offered in directory.offer("t1")] == ["blog", "shop"]
    assert [offered.name for offered in directory.offer("t2")] == ["x"]
    assert directory.offer("t3") == ()
    assert directory.tokens == {"t1": "team-a/laptop"}


def test_urls_name_the_public_port_only_if_it_is_not_443() -> None:
    for port, url in ((443, "https://shop.example.com/"), (8443, "https://shop.example.com:8443/")):
        directory = build_directory([fleet(port), tunnel("1", "shop")], Directory())
        assert directory.offer("t1")[0].url == url


def test_where_exit_nodes_are_comes_with_the_fleet() -> None:
    told = ir_pb2.Fleet(agent_addresses=["192.0.2.1:7443", "192.0.2.2:7443"], agent_tcp_ports=[443, 8443])
    directory = build_directory([ir_pb2.Object(key="fleet", fleet=told)], Directory())
    assert directory.addresses == (("192.0.2.1:7443", 443), ("192.0.2.2:7443", 8443))


def test_the_protocol_of_the_app_is_told_in_the_words_of_the_api() -> None:
    directory = build_directory([tunnel("1", "shop", app_protocol=ir_pb2.APP_PROTOCOL_H2C)], Directory())
    assert directory.offer("t1")[0].to_frame().app_protocol == "H2C"


def test_a_tcp_tunnel_is_offered_with_its_port_in_its_address() -> None:
    obj = tunnel("1", "db", app_protocol=ir_pb2.APP_PROTOCOL_TCP)
    obj.tunnel.hostname, obj.tunnel.tcp_port = "tcp-20017.example.com", 20_017
    offered = build_directory([fleet(8443), obj], Directory()).offer("t1")[0]
    assert (offered.url, offered.app_protocol) == ("tcp://tcp-20017.example.com:20017", "TCP")


def test_a_deleted_token_is_remembered_by_name_until_it_is_back() -> None:
    first = build_directory([token("t1")], Directory())
    second = build_directory([], first)
    assert second.deleted == {"t1": "team-a/laptop"}
    assert build_directory([], second).deleted == {"t1": "team-a/laptop"}
    assert build_directory([token("t1")], second).deleted == {}


def test_memory_of_deleted_tokens_is_bounded() -> None:
    before = Directory(tokens={f"t{number}": "team-a/x" for number in range(MAX_DELETED + 5)})
    assert len(build_directory([], before).deleted) == MAX_DELETED


def test_a_standby_is_offered_to_its_own_agents_under_a_name_of_its_own() -> None:
    tunnel = ir_pb2.Tunnel(uid="u1", namespace="team-a", name="shop", hostname="shop.t.example")
    tunnel.direct.host = "eu.example.com"
    tunnel.standby.agent.token_uid = "t2"
    tunnel.standby.app_protocol = ir_pb2.APP_PROTOCOL_H2C
    directory = build_directory([ir_pb2.Object(key="tunnel/u1", tunnel=tunnel)], Directory())
    (offered,) = directory.offer("t2")
    assert (offered.uid, offered.name, offered.app_protocol) == ("u1/standby", "shop", "H2C")
    assert list(directory.offers) == ["t2"], "a URL is offered to nobody"
