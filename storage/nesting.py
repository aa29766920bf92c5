"""What a resource is a member of, directly and through groups in between (RFC 7643 section 4.1.2)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

_Key = TypeVar("_Key")


def nested(
    direct: Mapping[_Key, Iterable[_Key]],
    groups_of: Callable[[Sequence[_Key]], Mapping[_Key, Iterable[_Key]]],
) -> dict[_Key, dict[_Key, int]]:
    """Return all groups that each key of `direct` is in, with the number of steps to it: 1 is direct.

    `direct` has the groups that each is in by itself; `groups_of` returns the same for groups. It is
    called once for each level, and asked for no key twice. Direct groups come before nested ones, those of
    one level as they were found. A group in a circle is in itself.
    """
    above = {key: list(groups) for key, groups in direct.items()}
    level = _new(above.values(), above)
    while level:
        found = groups_of(level)
        above |= {key: list(found.get(key, ())) for key in level}
        level = _new((above[key] for key in level), above)
    return {key: _steps(key, above) for key in direct}


def _steps(key: _Key, above: Mapping[_Key, Sequence[_Key]]) -> dict[_Key, int]:
    found: dict[_Key, int] = {}
    level, steps = [key], 1
    while level:
        level = _new((above[one] for one in level), found)
        found |= dict.fromkeys(level, steps)
        steps += 1
    return found


def _new(groups: Iterable[Iterable[_Key]], known: Mapping[_Key, object]) -> list[_Key]:
    """Return the groups that are not known yet, each once."""
    return [one for one in dict.fromkeys(group for some in groups for group in some) if one not in known]
