"""What kopf is told to watch and how."""

from typing import Any

from hawse_operator.handlers import watching
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s import resources

CREDENTIALS = k8s_client.Credentials("https://api", "/ca", True, "token", None, None)


async def log_in() -> k8s_client.Credentials:
    return CREDENTIALS


async def test_an_event_goes_to_the_sink_as_it_came() -> None:
    seen: list[tuple[Any, ...]] = []
    watch = watching.Watch("kinds", resources.HAWSE)
    registry = watching.build_registry(watch, lambda *event: seen.append(event), log_in)
    handlers = registry._watching.get_all_handlers()
    assert len(handlers) == len(resources.HAWSE)
    handler = next(item for item in handlers if item.id == "observe-tunnels")
    await handler.fn(event={"type": "ADDED", "object": {"metadata": {"name": "a"}}})
    assert seen == [(resources.TUNNELS, "ADDED", {"metadata": {"name": "a"}})]


def test_kopf_writes_nothing_and_filters_at_the_server() -> None:
    settings = watching.build_settings(watching.Watch("children", resources.CHILDREN, label_selector="a=b"))
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.queueing.worker_limit is None
    assert list(settings.watching.label_selectors.values()) == ["a=b"] * len(resources.CHILDREN)


def test_kopf_logs_in_as_the_operators_own_client() -> None:
    found = watching.to_connection(CREDENTIALS)
    assert (found.server, found.ca_path, found.insecure, found.token) == ("https://api", "/ca", False, "token")
