"""Error pages that visitors see, rendered once at start and handed down to the edge as bytes. Pure.

The edge fills the slots {host}, {request_id} and {detail} (escaped) and answers API clients with problem+json instead.
A page is one self-contained HTML file: no script, no font, no image from elsewhere; it works without CSS, in dark mode,
on a phone and with a screen reader. It names the hop that failed on the way visitor → exit node → agent → app, and what
to do, for the visitor and for the tunnel's owner. It never names another tenant.
"""

import html
from dataclasses import dataclass
from enum import IntEnum

from hawse_api import names

DOCS = "https://hawse.dev/errors/"


class Hop(IntEnum):
    """Stations of a request, in order."""

    VISITOR = 0
    EXIT_NODE = 1
    AGENT = 2
    APP = 3


_HOPS = (
    (Hop.VISITOR, "You", "browser"),
    (Hop.EXIT_NODE, "Exit node", "public address"),
    (Hop.AGENT, "Agent", "developer's machine"),
    (Hop.APP, "App", "behind the tunnel"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """What one page says."""

    failed: Hop
    lead: str
    """One sentence for the visitor, who knows nothing of tunnels."""
    visitor: str
    """What the visitor can do."""
    owner: tuple[str, ...]
    """What the tunnel's owner can do; `…` marks commands."""


PAGES: dict[str, Page] = {
    "NO_SUCH_TUNNEL": Page(
        Hop.EXIT_NODE,
        "Nothing is published at this address right now.",
        "Check the address for a typing error, or ask whoever gave it to you.",
        (
            "`kubectl get tunnels -A` shows the names that exist and why one is not Ready.",
            "A new Tunnel is served within seconds of being applied.",
        ),
    ),
    "NO_AGENT": Page(
        Hop.AGENT,
        "This address is set up, but the machine behind it is not connected. It may be asleep or offline.",
        "Try again in a moment: the address works again as soon as that machine is back.",
        (
            "Start the agent on the machine with the app: `hawse http PORT`.",
            "`hawse status` there shows whether it is connected, and to which exit nodes.",
        ),
    ),
    "APP_REFUSED": Page(
        Hop.APP,
        "The tunnel works, but the app behind it did not accept the connection. It is probably not running.",
        "Try again later, or tell whoever gave you this address.",
        (
            "Is the app running, and does it listen on the port that `hawse http PORT` was given?",
            "An app in a container has to listen on an address that the agent reaches, not only on its own loopback.",
        ),
    ),
    "APP_TIMED_OUT": Page(
        Hop.APP,
        "The app behind this address took the request and did not answer in time.",
        "Try again. If you were sending something, check first whether it has arrived: the app did get the request.",
        (
            "Look at the app's own log for what it is busy with.",
            "Slow on purpose? Raise `spec.traffic.timeouts.request` of the Tunnel.",
        ),
    ),
    "APP_CLOSED": Page(
        Hop.APP,
        "The app behind this address closed the connection before it had answered.",
        "Try again. If you were sending something, check first whether it has arrived.",
        ("The app probably crashed or was restarted while it worked on this request: its log says more.",),
    ),
    "APP_INVALID": Page(
        Hop.APP,
        "The app behind this address answered with something that is not a web page's protocol (HTTP).",
        "Tell whoever gave you this address; trying again will not help.",
        ("Does the port speak HTTP without TLS? `spec.target.appProtocol` says what the tunnel expects.",),
    ),
    "AGENT_LOST": Page(
        Hop.AGENT,
        "The connection to the machine behind this address broke while it carried your request.",
        "Try again. If you were sending something, check first whether it has arrived.",
        ("The agent reconnects by itself; `hawse status` shows whether it has.",),
    ),
    "TUNNEL_CLOSED": Page(
        Hop.EXIT_NODE,
        "The owner of this address, or its platform, has closed it for now.",
        "Try again later, or ask whoever gave you the address.",
        (
            "`kubectl describe tunnel NAME` says why: suspended, not accepted, or an exit node that is too old.",
            "Resume it with `spec.suspend: false`.",
        ),
    ),
    "CONFIGURATION_TOO_OLD": Page(
        Hop.EXIT_NODE,
        "This server has been cut off from its control for too long to know whether this address may still be served.",
        "Try again later. If there are servers in other regions, another network may lead you to one of them.",
        (
            "Does the operator run? `kubectl get pods -n hawse-system`; exit nodes log why it is not reached.",
            "Agents are let in again within seconds of its return. How long they may be served without it says "
            "`spec.maxStaleness` of the Fleet.",
        ),
    ),
    "OVERLOADED": Page(
        Hop.EXIT_NODE,
        "This server is too busy for another request right now.",
        "Try again in a few seconds.",
        ("`kubectl get exitnodes` shows the load; more exit nodes in the region share it.",),
    ),
    "UNAUTHENTICATED": Page(
        Hop.EXIT_NODE,
        "The owner of this address lets in only those who prove who they are.",
        "Reload the page and give the name and password, key or token that you were given.",
        (
            "`kubectl describe accesspolicy NAME` shows what the policy asks for.",
            "Wrong passwords are counted for each address: after ten, one more is tried every six seconds.",
        ),
    ),
    "FORBIDDEN": Page(
        Hop.EXIT_NODE,
        "The owner of this address does not let you in.",
        "Ask whoever gave you the address for access.",
        (
            "`kubectl get accesspolicy NAME -o yaml` shows networks (`ipRanges`) and rules (`authorization`).",
            "Visitors behind a load balancer: its network has to stand in `spec.proxyProtocol` of the Fleet.",
        ),
    ),
    "ACCESS_UNAVAILABLE": Page(
        Hop.EXIT_NODE,
        "Who may use this address cannot be checked at the moment, so nobody is let in.",
        "Try again in a minute, or ask whoever gave you the address.",
        ("`kubectl describe accesspolicy NAME` says what is missing: the policy itself, a Secret, or a valid edit.",),
    ),
    "SIGN_IN_FAILED": Page(
        Hop.EXIT_NODE,
        "You were not signed in: this attempt is over.",
        "Open the address that you wanted again: a new sign-in begins there. Cookies have to be allowed for it.",
        (
            "Visitors see this when they go back, take longer than 10 minutes, or are refused by the provider.",
            "The exit node's log names the cause: `a visitor could not sign in`.",
        ),
    ),
    "PROVIDER_FAILED": Page(
        Hop.EXIT_NODE,
        "This address asks its visitors to sign in, and the place where they do so is not working.",
        "Try again in a moment. Your account has nothing to do with it.",
        (
            "`kubectl describe accesspolicy NAME` shows what the operator sees of the provider (`Discovered`).",
            "Client id, secret and redirect URI (`https://HOST/.hawse/callback`) have to be those that are registered.",
        ),
    ),
    "MISDIRECTED": Page(
        Hop.EXIT_NODE,
        "This connection was opened for another host name.",
        "Reload the page: the browser then opens a connection of its own.",
        ("Clients must use the same name for TLS (SNI) and the Host header.",),
    ),
}
_BAD_REQUEST = Page(
    Hop.VISITOR,
    "The request cannot be served as it was sent.",
    "Reload the page, or delete this site's cookies if it happens again.",
    ("The code below has its own page in the documentation, with the rule that was broken.",),
)

_STYLE = """\
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#586374;--line:#d9dee6;\
--bad:#b3261e;--ok:#1b7a43}
@media (prefers-color-scheme:dark){:root{--bg:#11151b;--card:#1a2029;--ink:#e8ecf2;--soft:#a3aebd;--line:#333d4b;\
--bad:#ff8a80;--ok:#6fd39a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:44rem;margin:0 auto;padding:max(1.25rem,7vh) 1.25rem 2rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.75rem clamp(1.25rem,5vw,2.25rem)}
.code{color:var(--bad);font-weight:600;letter-spacing:.02em;margin:0}
h1{font-size:clamp(1.35rem,4.5vw,1.75rem);line-height:1.25;margin:.25rem 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.5rem 0 .35rem}
p{margin:.35rem 0}
.detail{border-left:3px solid var(--bad);padding-left:.8rem;overflow-wrap:anywhere}
.detail:empty{display:none}
ol{list-style:none;display:flex;margin:1.6rem 0 .5rem;padding:0;gap:0}
ol li{flex:1;text-align:center;position:relative;font-size:.9rem;line-height:1.3}
ol li+li::before{content:"";position:absolute;top:1.05rem;left:calc(-50% + 1.35rem);right:calc(50% + 1.35rem);\
border-top:2px solid var(--line)}
ol li.ok+li.ok::before{border-color:var(--ok)}
ol li.bad::before{border-top:2px dashed var(--bad)}
ol b{display:grid;place-items:center;width:2.2rem;height:2.2rem;margin:0 auto .4rem;border-radius:50%;\
border:2px solid var(--line);color:var(--soft);background:var(--card)}
.ok b{border-color:var(--ok);color:var(--ok)}
.bad b{border-color:var(--bad);color:var(--bad)}
.bad strong{color:var(--bad)}
small,.soft{color:var(--soft)}
ul{margin:.35rem 0;padding-left:1.2rem}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
footer{margin-top:1rem;font-size:.85rem;color:var(--soft);overflow-wrap:anywhere}
a{color:inherit}
.vh{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (max-width:30rem){ol small{display:none}}"""


def render_pages() -> dict[str, bytes]:
    """Code -> HTML, for every code that the edge shows to a visitor."""
    return {
        error.code: render_page(error, PAGES.get(error.name, _BAD_REQUEST)).encode()
        for error in names.ERRORS
        if error.status
    }


def render_page(error: names.ErrorCode, page: Page) -> str:
    """One page with its three slots."""
    title = html.escape(error.title)
    owner = "".join(f"<li>{_inline(line)}</li>" for line in page.owner)
    card = f"""<p class="code">{error.status} · {error.code}</p>
<h1>{title}</h1>
<p>{_inline(page.lead)}</p>
{_diagram(page.failed)}
<p class="detail">{{detail}}</p>
<h2>What you can do</h2>
<p>{_inline(page.visitor)}</p>
<h2>If this is your tunnel</h2>
<ul>{owner}</ul>
<p><a href="{DOCS}{error.code}" rel="noreferrer">More about {error.code}</a></p>"""
    footer = "{host} · request <code>{request_id}</code> · served by a Hawse exit node"
    return _document(f"{error.status} · {title}", card, footer)


def render_signed_out() -> bytes:
    """What stands where a sign-out ends; its slot is {host}."""
    card = """<h1>You are signed out.</h1>
<p>Your session at <code>{host}</code> is over. Other sites where you are signed in may not have noticed.</p>
<p><a href="/">Sign in again</a></p>"""
    return _document("Signed out", card, "{host} · served by a Hawse exit node").encode()


def _document(title: str, card: str, footer: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<main>
<div class="card">
{card}
</div>
<footer>{footer}</footer>
</main>
</body>
</html>
"""


def _diagram(failed: Hop) -> str:
    """The way of the request as a list: readable in order, with its state in words."""
    items = "".join(_station(hop, name, place, failed) for hop, name, place in _HOPS)
    return f'<ol aria-label="Way of the request">{items}</ol>'


def _station(hop: Hop, name: str, place: str, failed: Hop) -> str:
    if hop < failed:
        style, mark, state = "ok", "✓", "works"
    elif hop is failed:
        style, mark, state = "bad", "✕", "failed here"
    else:
        style, mark, state = "", "·", "not reached"
    label = f"<strong>{name}</strong>" if hop is failed else name
    return (
        f'<li class="{style}"><b aria-hidden="true">{mark}</b>{label}<span class="vh">: {state}</span>'
        f"<br><small>{html.escape(place)}</small></li>"
    )


def _inline(text: str) -> str:
    """Escaped text; `…` becomes code."""
    parts = html.escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
