"""Why an exit node could not prove itself, told as what it most likely is: a wrong clock here. Pure.

rustls speaks of verification times; a person has a laptop that woke up in another year. Used by incoming.py and
login.py for every failed dial.
"""

import re

from hawse_agent import words
from hawse_api import names

_UNTRUSTED = names.BY_NAME["EXIT_NODE_UNTRUSTED"].code
_SKEW = names.BY_NAME["CLOCK_SKEW"].code
_NOT_YET = re.compile(r"certificate not valid yet\b.*\((\d{1,12}) seconds in future\)")
_OVER = re.compile(r"certificate expired\b.*\((\d{1,12}) seconds ago\)")


def explain(message: str, code: str) -> tuple[str, str]:
    """The message and code of a failed dial, or better ones."""
    if code != _UNTRUSTED:
        return words.printable(message), code
    if found := _NOT_YET.search(message):
        behind = words.duration(int(found[1]))
        return f"your clock is at least {behind} behind the exit node. Set it and try again.", _SKEW
    if found := _OVER.search(message):
        over = words.duration(int(found[1]))
        text = f"by your clock the exit node's certificate is over since {over}. Set the clock if it is ahead; "
        return text + "if it is right, ask the platform team to look at the exit node.", _SKEW
    return words.printable(message), code
