"""Does anything listen where the tunnel leads? Shell, and the watch that warns until something does.

A tunnel that is served before its app has started is normal during development: the person is warned once (HAWSE-2006).
Once an app was seen it is left alone; probing it for ever would fill its log. The core dials what the person typed:
for "localhost" both 127.0.0.1 and ::1, since many development servers listen on one of them only.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from hawse_agent import notices
from hawse_agent.target import Target

_CONNECT_S = 2.0
_EVERY_S = 1.0


async def listens(target: Target) -> bool:
    """True if a connection can be made now, under any address of the host."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def run_watch(targets: Sequence[Target], tell: Callable[[notices.Notice], None]) -> None:
    """Warn about each app that is missing, tell when it came up; ends when all were seen."""
    awaited = await _missing(list(dict.fromkeys(targets)))
    for target in awaited:
        tell(notices.NotListening(str(target)))
    while awaited:
        await asyncio.sleep(_EVERY_S)
        missing = await _missing(awaited)
        for target in awaited:
            if target not in missing:
                tell(notices.Listening(str(target)))
        awaited = missing


async def _missing(targets: list[Target]) -> list[Target]:
    found = await asyncio.gather(*(listens(one) for one in targets))
    return [target for target, up in zip(targets, found, strict=True) if not up]
