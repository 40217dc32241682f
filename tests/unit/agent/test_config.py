"""hawse.toml and hawse.yaml."""

from pathlib import Path

import pytest

from hawse_agent import config
from hawse_agent.errors import AgentError, UsageError
from hawse_agent.target import Target

YAML = """
tunnels:
  - {tunnel: shop, to: 3000}
  - tunnel: api
    to: "127.0.0.1:4000"
"""
TOML = """
[[tunnels]]
tunnel = "shop"
to = 3000

[[tunnels]]
tunnel = "api"
to = "127.0.0.1:4000"
"""


@pytest.mark.parametrize(("text", "yaml"), [(YAML, True), (TOML, False)], ids=["yaml", "toml"])
def test_both_forms_say_the_same(text: str, yaml: bool) -> None:
    wanted = config.parse(text, yaml=yaml, where="f")
    assert wanted.routes == (("shop", Target("localhost", 3000)), ("api", Target("127.0.0.1", 4000)))
    assert wanted.wait


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "file: input should be"),
        ("tunnels: []", "tunnels: list should have at least 1 item"),
        ("tunnel: shop", "tunnels: field required"),
        ("tunnels: [{tunnel: shop}]", "tunnels.0.to: field required"),
        ("tunnels: [{tunnel: Shop, to: 3000}]", "tunnels.0.tunnel: string should match"),
        ("tunnels: [{tunnel: shop, to: nowhere}]", 'tunnels.0.to: "nowhere" is not a place'),
        ("tunnels: [{tunnel: shop, to: true}]", "tunnels.0.to"),
        ("tunnels: [{tunnel: shop, to: 1, port: 2}]", "tunnels.0.port: extra inputs"),
        ("tunnels: [{tunnel: a, to: 1}, {tunnel: a, to: 2}]", "names a twice"),
        ("tunnels: [", "is not YAML"),
        ("tunnels: !!python/object/apply:os.system [id]", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.parse(text, yaml=True, where="hawse.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("hawse.yaml ")


def test_a_broken_toml_is_told_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"hawse.toml is not TOML: .*line 2"):
        config.parse("a = 1\nb = = 2", yaml=False, where="hawse.toml")


def test_the_first_place_that_has_a_file_wins(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (there / "hawse.toml").write_text(TOML)
    assert config.find(None, (here, there)) == there / "hawse.toml"
    (here / "hawse.yaml").write_text(YAML)
    assert config.find(None, (here, there)) == here / "hawse.yaml"


def test_a_missing_file_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        config.find(None, (tmp_path,))
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        config.find(tmp_path / "mine.yaml", (tmp_path,))


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hawse.toml"
    path.write_text("#" * 70_000)
    with pytest.raises(UsageError, match="larger than"):
        config.read(path)


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="HAWSE-2012"):
        config.read(tmp_path)
