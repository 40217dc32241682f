"""What `make demo` was asked for."""

from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.existing import image_values
from demo.settings import Images, Place, read_settings

ROOT = Path("/repository")


def settings(**environment: str):
    return read_settings(environment, root=ROOT, programs=ROOT / ".venv" / "bin")


def test_nothing_asked_for_is_the_embedded_cluster_that_stays_up():
    found = settings(HAWSE_DEMO_CHECK="", HAWSE_DEMO_KIND="")
    assert (found.place, found.check, found.app_port, found.https_port) == (Place.EMBEDDED, False, 3000, 8443)


@pytest.mark.parametrize(("value", "check"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_check_is_read_as_make_hands_it_over(value: str, check: bool):
    assert settings(HAWSE_DEMO_CHECK=value).check is check


@pytest.mark.parametrize(("value", "name"), [("1", ""), ("other", "other")])
def test_kind_names_a_cluster_or_asks_for_one_of_its_own(value: str, name: str):
    found = settings(HAWSE_DEMO_KIND=value)
    assert (found.place, found.kind_name) == (Place.KIND, name)


def test_kubeconfig_asks_for_the_cluster_it_names(tmp_path: Path):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("")
    found = settings(KUBECONFIG=str(kubeconfig), HAWSE_OPERATOR_IMAGE="a/b:1", HAWSE_EXITNODE_IMAGE="a/c:1")
    assert (found.place, found.kubeconfig) == (Place.EXISTING, kubeconfig)
    assert found.images == Images("a/b:1", "a/c:1")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"KUBECONFIG": "/nowhere/config"}, "no file"),
        ({"KUBECONFIG": "/a:/b"}, "several files"),
        ({"KUBECONFIG": "/dev/null"}, "no file"),
        ({"HAWSE_DEMO_APP_PORT": "0"}, "HAWSE_DEMO_APP_PORT=0 is no port"),
        ({"HAWSE_DEMO_HTTPS_PORT": "70000"}, "HAWSE_DEMO_HTTPS_PORT=70000 is no port"),
        ({"HAWSE_DEMO_HTTPS_PORT": "https"}, "is no port"),
    ],
)
def test_what_cannot_be_is_named_with_a_way_out(environment: dict[str, str], said: str):
    with pytest.raises(DemoError, match=said) as caught:
        settings(**environment)
    assert caught.value.fix


def test_an_existing_cluster_without_images_is_refused(tmp_path: Path):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("")
    with pytest.raises(DemoError) as caught:
        settings(KUBECONFIG=str(kubeconfig))
    assert "HAWSE_OPERATOR_IMAGE" in caught.value.fix


@pytest.mark.parametrize(
    ("image", "values"),
    [
        ("a/op:1", "image.repository=a/op image.tag=1"),
        ("host:5000/op", "image.repository=host:5000/op"),
        ("host:5000/op:2", "image.repository=host:5000/op image.tag=2"),
        ("a/op@sha256:ab", "image.repository=a/op image.digest=sha256:ab"),
    ],
)
def test_an_image_becomes_values_of_the_chart(image: str, values: str):
    text = image_values(Images(image, "x/node:1"))
    wanted = " ".join(f"--set {value}" for value in values.split())
    assert text == f"{wanted} --set exitNode.image.repository=x/node --set exitNode.image.tag=1"
