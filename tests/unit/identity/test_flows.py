"""A sign-in on its way: what begins it, what ends it, and what does not."""

from urllib.parse import parse_qs, urlsplit

import pytest

from hawse_identity import cookies, flows, requests, sites
from hawse_identity.errors import ProviderError, SignInError
from support import identity
from support.bad_provider import bare_oidc

NOW = 1_000_000.0
RANDOM = bytes(range(flows.RANDOM_BYTES))
SITE = sites.build_site(identity.configuration(bare_oidc()), identity.TUNNEL_UID)


def begun(to: str = "/a", *, random: bytes = RANDOM, now: float = NOW) -> tuple[flows.Flow, dict[str, str]]:
    """A flow, and what the browser keeps of it."""
    flow = flows.begin(to, random, now)
    [field] = flows.remember(flow, SITE, {}, now)
    name, _, value = field.partition(";")[0].partition("=")
    return flow, {name: value}


def test_a_flow_comes_back_with_its_page() -> None:
    flow, sent = begun("/a?b=c")
    found, code = flows.finish({"state": flow.state, "code": "x"}, SITE, sent, NOW + 599)
    assert (found, code) == (flow, "x")
    assert found.to == "/a?b=c"


def test_the_cookie_tells_nothing() -> None:
    flow, sent = begun()
    for secret in (flow.state, flow.nonce, flow.verifier, flow.verifier[:20]):
        assert secret not in str(sent)
        assert secret not in repr(flow)


@pytest.mark.parametrize("to", ["/", "/a", "/a/b?c=d&e=%2F", "/a:b@c", "/~x", "/a?next=https://other.example"])
def test_a_path_of_this_host_is_returned_to(to: str) -> None:
    assert flows.safe_return(to) == to


@pytest.mark.parametrize(
    "to",
    [
        "",
        "a",
        "//x",
        "/\\x",
        "\\x",
        "https://x",
        "javascript:x",
        "/a\r\nb",
        "/a b",
        "/\tx",
        "/ä",
        '/"',
        "/<x>",
        "/.hawse/login",
        "/" + "x" * 1024,
    ],
)
def test_anything_else_becomes_the_first_page(to: str) -> None:
    assert flows.safe_return(to) == "/"


STATE = begun()[0].state


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state": "", "code": "c"},
        {"state": STATE[:-1], "code": "c"},
        {"state": STATE + "x", "code": "c"},
        {"state": STATE.partition(".")[0], "code": "c"},
        {"state": "." + STATE.partition(".")[2], "code": "c"},
        {"state": "ä" * 50, "code": "c"},
    ],
)
def test_a_state_that_this_browser_does_not_keep_ends_nothing(query: dict[str, str]) -> None:
    _, sent = begun()
    with pytest.raises(SignInError):
        flows.finish(query, SITE, sent, NOW)


def test_a_flow_of_another_browser_host_or_hour_ends_nothing() -> None:
    flow, sent = begun()
    answer = {"state": flow.state, "code": "c"}
    other = identity.configuration(bare_oidc())
    other.materials[f"session/{identity.TUNNEL_UID}"] = b"o" * 64
    for site, kept, now in (
        (SITE, {}, NOW),
        (SITE, sent, NOW + 601),
        (sites.build_site(other, identity.TUNNEL_UID), sent, NOW),
    ):
        with pytest.raises(SignInError):
            flows.finish(answer, site, kept, now)


def test_a_refresh_cookie_does_not_pass_for_a_flow() -> None:
    flow, sent = begun()
    [(name, value)] = sent.items()
    assert flows._open(value, SITE, NOW) == flow
    assert flows.sealed.unseal(flows.sealed.Kind.REFRESH, value, SITE.keys.sealing) is None
    assert flows._open(value[:-1] + ("A" if value[-1] != "A" else "B"), SITE, NOW) is None
    assert name.startswith(cookies.FLOW)


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"iss": "https://evil.example"}, ProviderError, "(iss)"),
        ({"error": "access_denied"}, SignInError, "access_denied"),
        ({"error": "server_error"}, ProviderError, "server_error"),
        ({"error": "call 0900-FRAUD now"}, ProviderError, "unreadable"),
        ({}, ProviderError, "no code"),
    ],
)
def test_what_the_provider_answers_instead_of_a_code_is_said(
    more: dict[str, str], error: type[Exception], text: str
) -> None:
    flow, sent = begun()
    with pytest.raises(error) as raised:
        flows.finish({"state": flow.state, **more}, SITE, sent, NOW)
    assert text in str(raised.value)


def test_at_most_four_flows_are_kept_and_the_oldest_goes() -> None:
    sent: dict[str, str] = {}
    for number in range(4):
        _, cookie = begun(random=bytes([number]) * flows.RANDOM_BYTES, now=NOW + number)
        sent |= cookie
    junk = {f"{cookies.FLOW}junk": "x"}
    fifth = flows.begin("/", b"\x09" * flows.RANDOM_BYTES, NOW + 9)
    fields = flows.remember(fifth, SITE, sent | junk, NOW + 9)
    cleared = {field.partition("=")[0] for field in fields if "Max-Age=0" in field}
    assert cleared == {next(iter(sent)), f"{cookies.FLOW}junk"}


def test_the_provider_is_asked_for_a_code_with_pkce_state_and_nonce() -> None:
    flow, _ = begun()
    parts = urlsplit(requests.authorization_url(SITE, flow))
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert asked == {
        "response_type": "code",
        "client_id": "hawse",
        "redirect_uri": "https://shop.example.test:8443/.hawse/callback",
        "scope": "openid",
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": flow.challenge,
        "code_challenge_method": "S256",
    }


def test_the_challenge_is_that_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    flow = flows.Flow("i", "s", "n", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "/", 0)
    assert flow.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
