"""One exit node, one agent and one recording app for all attacks: each has to leave them as it found them."""

from collections.abc import Iterator

import pytest

from support import loopback
from support.attack import Scene
from support.recording_app import RecordingApp


@pytest.fixture(scope="session")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with RecordingApp() as app, loopback.fleet(tmp_path_factory.mktemp("abuse")) as made:
        made.add_exit_node()
        made.start_agent("http", app.target)
        scene = Scene(made, app)
        with scene.good_visitors() as one_round:
            for _ in range(5):
                one_round()  # what is made once is made
        yield scene


@pytest.fixture
def scene(shared_scene: Scene) -> Iterator[Scene]:
    """The same processes serve before and after."""
    shared_scene.app.take()
    yield shared_scene
    assert shared_scene.is_alive()
    with shared_scene.good_visitors():
        pass
