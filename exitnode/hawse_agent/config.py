"""hawse.toml or hawse.yaml: the tunnels of `hawse start`. Read once; all that is wrong in it is told at once.

tunnels:
  - tunnel: shop
    to: 3000
  - {tunnel: api, to: "localhost:4000"}
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hawse_agent import target
from hawse_agent.choice import Wanted
from hawse_agent.errors import AgentError, UsageError
from hawse_api import names

FILES = ("hawse.toml", "hawse.yaml", "hawse.yml")
_LIMIT_BYTES = 64 * 1024
_UNREADABLE = names.BY_NAME["CONFIG_UNREADABLE"].code


class Entry(BaseModel):
    """One tunnel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tunnel: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """metadata.name of the Tunnel."""
    to: str = Field(max_length=300)
    """Where its app listens: a port, or host:port."""

    @field_validator("to", mode="before")
    @classmethod
    def _port(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class File(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tunnels: list[Entry] = Field(min_length=1, max_length=64)


def find(given: Path | None, places: tuple[Path, ...]) -> Path:
    """The file that was named, else the first of FILES in these directories.

    Raises:
        UsageError: there is none.
    """
    candidates = [given] if given else [place / name for place in places for name in FILES]
    for path in candidates:
        if path.is_file():
            return path
    looked = given or " or ".join(str(place) for place in places)
    raise UsageError(f"no config file: {looked} has no {FILES[0]} or {FILES[1]}. docs/agent.md shows one.")


def read(path: Path) -> Wanted:
    """The tunnels of the file.

    Raises:
        UsageError: what is wrong in it, with the place.
        AgentError: HAWSE-2012, it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise AgentError(f"{path} cannot be read: {why}. Check its path and mode.", code=_UNREADABLE) from exc
    if len(content) > _LIMIT_BYTES:
        raise UsageError(f"{path} is larger than {_LIMIT_BYTES} bytes. It lists tunnels only.", code=_UNREADABLE)
    return parse(content.decode(errors="replace"), yaml=path.suffix != ".toml", where=str(path))


def parse(text: str, *, yaml: bool, where: str) -> Wanted:
    """The tunnels of a file's text.

    Raises:
        UsageError: what is wrong in it, with the place.
    """
    loaded = _load_yaml(text, where) if yaml else _load_toml(text, where)
    try:
        entries = File.model_validate(loaded).tunnels
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg'].lower()}" for one in exc.errors()]
        raise UsageError(f"{where} is not valid: {'; '.join(problems[:5])}", code=_UNREADABLE) from None
    routes = []
    for number, entry in enumerate(entries):
        try:
            routes.append((entry.tunnel, target.parse(entry.to)))
        except UsageError as exc:
            raise UsageError(f"{where} is not valid: tunnels.{number}.to: {exc.message}", code=_UNREADABLE) from None
    named = [name for name, _ in routes]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise UsageError(f"{where} names {', '.join(twice)} twice. A tunnel leads to one app.", code=_UNREADABLE)
    return Wanted(tuple(routes), wait=True)


def _load_toml(text: str, where: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{where} is not TOML: {exc}", code=_UNREADABLE) from None


def _load_yaml(text: str, where: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise UsageError(f"{where}: YAML needs PyYAML (pip install pyyaml), or write it as {FILES[0]}.") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(exc, "problem", None) or "syntax error"
        raise UsageError(f"{where} is not YAML: {problem}{place}", code=_UNREADABLE) from None
