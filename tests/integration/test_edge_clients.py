"""Visitors unlike a browser over IPv4 and TLS 1.3: IPv6, TLS 1.2, and gRPC's own client against gRPC's own server."""

import queue
import socket
import ssl
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from hawse_api.ir import ir_pb2
from support import loopback
from support.loopback import Loopback, TunnelSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PATIENCE_S = 20.0


# --- IPv6 and TLS 1.2 -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def on_ipv6(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """An exit node that listens on [::1] for visitors and agents."""
    with loopback.fleet(tmp_path_factory.mktemp("ipv6")) as made:
        made.add_exit_node(address="::1")
        made.start_app()
        made.start_agent()
        yield made


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_visitors_and_agents_come_over_ipv6(on_ipv6: Loopback, http2: bool) -> None:
    seen = on_ipv6.headers_seen_by_app(http2=http2)
    assert seen["x-forwarded-for"] == ["::1"]


def test_a_visitor_with_tls_1_2_is_served(on_ipv6: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=str(on_ipv6.ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    monkeypatch.setattr(loopback.ssl, "create_default_context", lambda **_: context)
    with on_ipv6.visitor() as http, http.stream("GET", "/headers") as answer:
        stream = answer.extensions["network_stream"]
        assert stream.get_extra_info("ssl_object").version() == "TLSv1.2"
        assert answer.status_code == 200


def test_older_tls_is_refused(on_ipv6: Loopback) -> None:
    place = on_ipv6.nodes[0].place
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((place.address, place.https_port), timeout=PATIENCE_S) as tcp,
        pytest.raises(ssl.SSLError, match="alert"),
    ):
        context.wrap_socket(tcp, server_hostname=on_ipv6.host)


# --- gRPC -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """gRPC's client, over TLS through the edge, to a server without TLS behind the agent."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with loopback.fleet(tmp_path_factory.mktemp("grpc")) as made:
        made.trial.tunnels = (TunnelSpec("shop", app_protocol=ir_pb2.APP_PROTOCOL_H2C),)
        made.add_exit_node()
        made.start_agent("http", f"127.0.0.1:{port}")
        place = made.nodes[0].place
        credentials = grpc.ssl_channel_credentials(made.ca_file.read_bytes())
        options = [("grpc.ssl_target_name_override", made.host), ("grpc.default_authority", made.host)]
        with grpc.secure_channel(f"ipv4:{place.at(place.https_port)}", credentials, options) as opened:
            yield opened
    server.stop(0)


def say(request: bytes, context: grpc.ServicerContext) -> bytes:
    sent = dict(context.invocation_metadata())
    context.set_trailing_metadata((("seen-by", "server"), ("word-bin", b"\x00\xff"), ("from", str(sent["x-from"]))))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ü")
    return request.upper()


def count(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    context.set_trailing_metadata((("counted", request.decode()),))
    for number in range(int(request)):
        yield b"%d" % number


def total(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    return b"%d" % sum(len(request) for request in requests)


def echo(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from requests
    context.set_trailing_metadata((("end", "reached"),))


HANDLERS = {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
}


def test_a_unary_call_has_its_answer_and_its_trailers(channel: grpc.Channel) -> None:
    answer, call = channel.unary_unary("/test.Echo/Say").with_call(
        b"hello", metadata=(("x-from", "client"),), timeout=PATIENCE_S
    )
    assert (answer, call.code()) == (b"HELLO", grpc.StatusCode.OK)
    trailers = dict(call.trailing_metadata())
    assert (trailers["seen-by"], trailers["word-bin"], trailers["from"]) == ("server", b"\x00\xff", "client")


def test_an_error_of_the_server_is_the_clients_error(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Say")(b"fail", metadata=(("x-from", "client"),), timeout=PATIENCE_S)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today: ü")
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Nothing")(b"", timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_streams_of_the_server_and_of_the_client_arrive_whole(channel: grpc.Channel) -> None:
    counted = channel.unary_stream("/test.Echo/Count")(b"500", timeout=PATIENCE_S)
    assert [int(number) for number in counted] == list(range(500))
    assert dict(counted.trailing_metadata())["counted"] == "500"
    sent = (bytes(100_000) for _ in range(100))
    assert channel.stream_unary("/test.Echo/Total")(sent, timeout=PATIENCE_S) == b"10000000"


def test_a_stream_both_ways_takes_turns(channel: grpc.Channel) -> None:
    """Each message is sent after the answer to the one before: nothing on the way waits for more."""
    to_say: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = channel.stream_stream("/test.Echo/Echo")(iter(to_say.get, None), timeout=PATIENCE_S)
    for number in range(50):
        to_say.put(b"%d" % number)
        assert next(answers) == b"%d" % number
    to_say.put(None)
    assert list(answers) == []
    assert dict(answers.trailing_metadata())["end"] == "reached"


def test_a_call_that_is_cancelled_or_late_leaves_the_others_alone(channel: grpc.Channel) -> None:
    slow = channel.stream_stream("/test.Echo/Echo")(iter(lambda: b"x" * 1000, None), timeout=0.3)
    with pytest.raises(grpc.RpcError) as caught:
        for _ in slow:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.unary_unary("/test.Echo/Say")(b"on", metadata=(("x-from", "c"),), timeout=PATIENCE_S) == b"ON"
