"""What an agent serves through each of its sessions, and what it tells the person of that. Pure. Used by session.py."""

from hawse_agent import choice, endings, notices
from hawse_agent.choice import Offered, Route
from hawse_agent.moves import Finish, Serve, Tell
from hawse_agent.session_state import State, Step


def routes_of(state: State, offered: tuple[Offered, ...]) -> tuple[Route, ...]:
    """Of what is chosen already, what a node offers."""
    chosen = choice.choose(state.wanted, offered, state.last)
    return chosen.routes if isinstance(chosen, choice.Serve) else ()


def serve(at: Step) -> None:
    """Register on each session what was chosen and is offered there."""
    offers = [node.offered for node in at.state.nodes if node.offered is not None]
    offered = {one.uid: one for offer in offers for one in offer}
    chosen = choice.choose(at.state.wanted, tuple(offered.values()), at.state.last)
    if isinstance(chosen, choice.Several | choice.NoSuch | choice.OtherKind) and not at.state.last:
        at.do(Finish(endings.of_choice(chosen, at.state.token)))
        return
    routes = chosen.routes if isinstance(chosen, choice.Serve) else ()
    if routes:
        at.change(last=routes[0].tunnel.name)
    for node in at.state.nodes:
        if node.offered is None:
            continue
        uids = {one.uid for one in node.offered}
        here = tuple(route for route in routes if route.tunnel.uid in uids)
        asked = tuple(route.tunnel.uid for route in here)
        if asked != node.asked:
            at.put(node, asked=asked)
            at.do(Serve(node.link, here))
    tell_served(at)


def tell_served(at: Step) -> None:
    """Tell the difference between what was served and what is served now."""
    offers = [node.offered for node in at.state.nodes if node.offered is not None]
    if not offers:
        at.change(serving=())  # between sessions; Lost was told
        return
    offered = {one.uid: one for offer in offers for one in offer}
    chosen = choice.choose(at.state.wanted, tuple(offered.values()), at.state.last)
    routes = chosen.routes if isinstance(chosen, choice.Serve) else ()
    missing = chosen.missing if isinstance(chosen, choice.Serve | choice.Wait) else ()
    registered = frozenset().union(*(node.registered for node in at.state.nodes))
    served = tuple(route for route in routes if route.tunnel.uid in registered)
    if served and served != at.state.serving:
        at.change(serving=served, told=None)
        at.do(Tell(notices.Serving(served, missing)))
    elif not routes:
        gone = tuple(route.tunnel.name for route in at.state.serving)
        waiting = notices.Waiting(missing, tuple(offered.values()), gone, at.state.token)
        if gone or at.state.told is None:
            at.change(serving=(), told=waiting)
            at.do(Tell(waiting))
