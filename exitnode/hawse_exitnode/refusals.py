"""What agents are told when a link ends: code, words, whether asking again helps. Pure; used by the session table."""

import dataclasses

from hawse_api import names, spiffe
from hawse_api.ir import frames_pb2
from hawse_exitnode.directory import Directory
from hawse_exitnode.session_state import (
    CLOSING_DEADLINE_S,
    Bind,
    Close,
    Command,
    Link,
    Moment,
    Phase,
    Send,
    State,
    Step,
)


def refused(name: str, message: str, *, final: bool, epoch: int = 0) -> frames_pb2.Refused:
    """A refusal by the name of its code in names.py."""
    return frames_pb2.Refused(code=names.BY_NAME[name].code, message=message, final=final, epoch=epoch)


def refuse(state: State, link: Link, why: frames_pb2.Refused, now: Moment) -> Step:
    """Say why, stop sending visitors, close. The link stays in the table until it is down."""
    error = names.BY_CODE[why.code]
    commands: list[Command] = [Send(link.id, frames_pb2.Frame(refused=why))]
    if link.registered:
        commands.append(Bind(link.id, ()))
    commands.append(Close(link.id, error.number, error.code))
    closing = dataclasses.replace(
        link, phase=Phase.CLOSING, deadline=now.at + CLOSING_DEADLINE_S, wanted=(), registered=(), relay=None
    )
    return state.with_link(closing), tuple(commands)


def bad_frame(what: str) -> frames_pb2.Refused:
    """The agent broke the protocol."""
    return refused("BAD_FRAME", f"The exit node got {what}. Update hawse on this machine.", final=False)


def version_mismatch(min_version: int, max_version: int) -> frames_pb2.Refused:
    """No common version: says which side to update."""
    theirs = f"versions {min_version} to {max_version} of the protocol"
    ours = f"{names.PROTOCOL_MIN} to {names.PROTOCOL_MAX}"
    if max_version < names.PROTOCOL_MIN:
        advice = "Update hawse on this machine."
    elif min_version > names.PROTOCOL_MAX:
        advice = "The exit node has to be updated, or use an older hawse."
    else:
        advice = "Update hawse on this machine."  # an empty range
    return refused("VERSION_MISMATCH", f"This agent speaks {theirs}, the exit node {ours}. {advice}", final=True)


def no_token(directory: Directory, who: spiffe.AgentId, *, synced: bool) -> frames_pb2.Refused:
    """The token of the certificate may not be used (any more).

    Final only if that is certain: an exit node without its operator may not know a token that was made meanwhile.
    """
    name = directory.deleted.get(who.token_uid)
    if name is not None:
        return refused("REVOKED", f"AgentToken {name} was deleted.", final=True)
    if synced:
        message = f"The AgentToken of this login (namespace {who.namespace}) does not exist any more."
        return refused("REVOKED", message, final=True)
    message = "This exit node does not know the login's AgentToken and cannot ask its operator now. It is tried again."
    return refused("REVOKED", message, final=False)


def operator_away(*, static: bool) -> frames_pb2.Refused:
    """Nobody can sign: the operator is away, or there is none."""
    if static:
        message = "This exit node serves from a file, without an operator: it issues no logins."
        return refused("OPERATOR_AWAY", message, final=True)
    return refused(
        "OPERATOR_AWAY",
        "This exit node cannot reach its operator, so nobody can log in through it now. Try again in a minute.",
        final=False,
    )


def draining(reason: str) -> frames_pb2.Refused:
    """The node stops: go elsewhere."""
    return refused("DRAINING", f"This exit node is stopping ({reason}). Connect to another one.", final=False)


def too_old(since: str) -> frames_pb2.Refused:
    """The operator has been silent for too long to know who may serve."""
    message = f"This exit node has been without its operator for too long to serve agents. {since} It is tried again."
    return refused("CONFIGURATION_TOO_OLD", message, final=False)


def overloaded(what: str) -> frames_pb2.Refused:
    """A bound of this node is reached."""
    return refused(
        "OVERLOADED", f"This exit node carries {what} already. Connect to another one, or later.", final=False
    )
