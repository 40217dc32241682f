"""Visitors who ask without a pause while a block lasts, and what they got."""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from support.loopback import Loopback

_PAUSE_S = 0.01


class Visits:
    """One visitor, over connections that are kept: GET and POST in turn, since only one of them may be sent twice."""

    def __init__(self, made: Loopback, node: int = 0, *, http2: bool = False) -> None:
        self.made, self.node, self.http2 = made, node, http2
        self.seen: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with self.made.visitor(self.node, http2=self.http2) as http:
            while not self._ended.wait(_PAUSE_S):
                for answer in (http.get("/headers"), http.post("/upload", content=b"x" * 5000)):
                    self.seen[answer.headers.get("x-hawse-error", str(answer.status_code))] += 1
