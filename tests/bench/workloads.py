"""What is asked of the products. A table; called by rounds, loader and report."""

from dataclasses import dataclass

SMALL_BYTES = 200
"""Body of an ordinary answer: what costs is the request, not the bytes."""
BULK_BYTES = 16 << 20
HTTP, HTTPS, H2 = "http", "https", "h2"


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of questions."""

    name: str
    schemes: tuple[str, ...]
    """What the visitor speaks; of several the first that a product offers."""
    connections: int
    new: bool = False
    """A connection (and handshake) for each request."""
    bulk: bool = False
    streams: int = 1
    """Requests at once on a connection (HTTP/2)."""

    @property
    def path(self) -> str:
        """The origin answers /<number> with that many bytes."""
        return f"/{self.body_bytes}"

    @property
    def body_bytes(self) -> int:
        """What every answer must have."""
        return BULK_BYTES if self.bulk else SMALL_BYTES


WORKLOADS = (
    Workload("http-c1", (HTTP,), 1),
    Workload("http-c32", (HTTP,), 32),
    Workload("http-c256", (HTTP,), 256),
    Workload("http-new", (HTTP,), 32, new=True),
    Workload("https-c1", (HTTPS,), 1),
    Workload("https-c32", (HTTPS,), 32),
    Workload("https-c256", (HTTPS,), 256),
    Workload("https-new", (HTTPS,), 32, new=True),
    Workload("h2-c8m32", (H2,), 8, streams=32),
    Workload("bulk1", (HTTPS, HTTP), 1, bulk=True),
    Workload("bulk8", (HTTPS, HTTP), 8, bulk=True),
)
