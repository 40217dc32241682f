"""Merging a patch into a manifest, and telling whether the cluster's object still says what we want. Pure.

Lists of things with a name (containers, volumes, env, ports) are merged and compared by it, as strategic merge and
server-side apply do; other lists are replaced and compared as a whole. Called by deployments (merge) and
reconcile.exitnodes (covers).
"""

import re
from decimal import Decimal
from typing import Any

JsonObject = dict[str, Any]
KEYS = ("name", "mountPath", "containerPort", "uid", "port", "key", "ip", "topologyKey")
"""Fields that tell items of a list apart, the first that all items have."""
QUANTITIES = frozenset({"requests", "limits", "sizeLimit", "averageValue"})
"""Fields with quantities in or below them. The API server writes them its own way: `1024Mi` comes back as `1Gi`."""
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]+))?")
_BINARY = {f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def merge(base: JsonObject, patch: JsonObject) -> JsonObject:
    """`patch` over `base`; null removes a field. Neither argument is changed."""
    result = dict(base)
    for field, value in patch.items():
        if value is None:
            result.pop(field, None)
        else:
            result[field] = _merged(result.get(field), value)
    return result


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return merge(old, new)
    if isinstance(old, list) and isinstance(new, list) and (key := _list_key(old, new)):
        return _merged_lists(old, new, key)
    return new


def _merged_lists(old: list[Any], new: list[Any], key: str) -> list[Any]:
    changes = {item[key]: item for item in new}
    kept = [merge(item, changes.pop(item[key])) if item[key] in changes else item for item in old]
    return [*kept, *changes.values()]


def _list_key(*lists: list[Any]) -> str | None:
    """The field that names items, if there is one: all items have it, and no list has a value twice."""
    items = [item for each in lists for item in each]
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in KEYS if all(_is_key(each, key) for each in lists)), None)


def _is_key(items: list[Any], key: str) -> bool:
    values = [item.get(key) for item in items]
    return None not in values and len(set(map(str, values))) == len(values)


def covers(live: Any, wanted: Any, *, quantities: bool = False) -> bool:
    """Whether everything that `wanted` says stands in `live`; what others added does not count.

    `quantities`: values are compared as Kubernetes' quantities.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            field in live and covers(live[field], value, quantities=quantities or field in QUANTITIES)
            for field, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and _covers_list(live, wanted)
    return bool(live == wanted or (quantities and _amount(live) == _amount(wanted) is not None))


def _amount(quantity: object) -> Decimal | None:
    """A quantity as a number; None if it is not one."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        return None
    number, binary, decimal, exponent = found.groups()
    power = int(exponent) if exponent else _DECIMAL.get(decimal or "", 0)
    return (Decimal(number) * _BINARY.get(binary or "", 1)).scaleb(power)


def _covers_list(live: list[Any], wanted: list[Any]) -> bool:
    key = _list_key(live, wanted)
    if key is None:
        return len(live) == len(wanted) and all(covers(one, other) for one, other in zip(live, wanted, strict=True))
    by_key = {item[key]: item for item in live}
    return all(item[key] in by_key and covers(by_key[item[key]], item) for item in wanted)
