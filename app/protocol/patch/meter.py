"""How much work one PATCH may cause: a limit on what its paths look at and change."""

from collections.abc import Mapping
from typing import Any, Final

from app.protocol.errors import Refusal

# What is found by an index costs next to nothing of it. A filter such as `display co "x"` looks at
# every value of the attribute, in every operation that has one: that is what the limit is for.
MAX_STEPS: Final = 250_000
# Beyond that limit, so many steps are allowed for each operation and for each value that the attribute
# has: a group of any size can be changed by any filter, and any number of values one by one.
STEPS_EACH: Final = 10
# A step compares or changes a value of up to this many characters.
_STEP_CHARACTERS: Final = 32


class Meter:
    """Counts the steps of one PATCH: values compared with, and values changed."""

    def __init__(self, operations: int = 1) -> None:
        self.steps = 0
        self._limit = MAX_STEPS + STEPS_EACH * operations

    def admit(self, values: int) -> None:
        """Allow for an attribute with that many values."""
        self._limit += STEPS_EACH * values

    def spend(self, steps: int) -> None:
        """Count steps before they are done. Raises Refusal 413 when they are too many."""
        self.steps += steps
        if self.steps > self._limit:
            raise Refusal(
                413,
                f"the PATCH compares and changes too many values: {MAX_STEPS} are allowed, and {STEPS_EACH}"
                " more for each operation and for each value of its attributes; send several requests",
                "tooMany",
            )


def weight(value: Any) -> int:
    """Return the steps that it takes to look at all of a value of an attribute."""
    parts = value.values() if isinstance(value, Mapping) else (value,)
    return 1 + sum(map(_characters, parts)) // _STEP_CHARACTERS


def _characters(part: Any) -> int:
    if type(part) is str:
        return len(part)
    return sum(map(_characters, part)) + _STEP_CHARACTERS * len(part) if type(part) is list else 0
