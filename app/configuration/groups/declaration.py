"""How a setting is declared: its default, how its text is read, and its description for operators."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.configuration import types


@dataclass(frozen=True)
class Description:
    """What the reference says of a setting, in Markdown.

    `does` says what the setting is for, `edges` what happens at its limits and together with other
    settings. `default` is the text for a default that the server works out; None is the default itself.
    """

    does: str
    edges: str = ""
    default: str | None = None


def setting(
    default: Any,
    read: Callable[[str], Any],
    does: str,
    edges: str = "",
    *,
    shown: str | None = None,
    also: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Return the field of a setting; `also` holds other spellings of its variable.

    A secret is not shown, and may come from a file.
    """
    described = Description(does, edges, shown)
    return field(default=default, metadata={"read": read, "also": also, "secret": secret, "is": described})


secret = partial(setting, secret=True)


def pool_size(of: str, wait_s: int) -> Any:
    """Return the field for the number of connections of a process, of which one more waits `wait_s`."""
    does = f"The largest number of connections of each process to {of}."
    edges = f"A thread that finds all in use waits up to {wait_s} seconds; then its request is answered 503."
    return setting(10, types.positive, does, edges)
