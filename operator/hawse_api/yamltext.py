"""JSON values as YAML text that people like to read: block style, plain words unquoted, keys in their given order.

A writer only, for generated files; so the contracts need no YAML library. Called by crdgen.
"""

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9 _./$()=<>;,+-]*")
_NOT_TEXT = re.compile(r"(?i:true|false|yes|no|on|off|y|n|null|~)|[.+-]?[0-9][0-9._eExXoO+-]*|\.(inf|nan)|=|<<")
_SINGLE_QUOTABLE = re.compile(r"[ -&(-~]*")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def to_yaml(value: Any) -> str:
    """Return a mapping or list as one YAML document that ends with a newline."""
    return "\n".join(_block(value, "")) + "\n"


def _block(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _entry(f"{indent}{_key(key)}:", item, indent)]
    return [line for item in value for line in _item(item, indent)]


def _entry(head: str, item: Any, indent: str) -> list[str]:
    if isinstance(item, dict | list) and item:
        deeper = indent if isinstance(item, list) else f"{indent}  "
        return [head, *_block(item, deeper)]
    return [f"{head} {_scalar(item)}"]


def _item(item: Any, indent: str) -> list[str]:
    if isinstance(item, dict | list) and item:
        first, *rest = _block(item, f"{indent}  ")
        return [f"{indent}- {first.removeprefix(f'{indent}  ')}", *rest]
    return [f"{indent}- {_scalar(item)}"]


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and not _NOT_TEXT.fullmatch(key) else json.dumps(key)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and value == value.strip()
    if is_plain:
        return value
    if '"' in value and _SINGLE_QUOTABLE.fullmatch(value):
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)
