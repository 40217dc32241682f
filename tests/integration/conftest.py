"""What the tests of the tunnel's Python face share: two cores in this process, and a CA for them."""

from collections.abc import AsyncIterator

import pytest

from support.cores import Ca, Peer, peer


@pytest.fixture
async def node() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


@pytest.fixture
async def agent() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


@pytest.fixture
def ca() -> Ca:
    return Ca()
