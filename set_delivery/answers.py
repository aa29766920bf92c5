"""What the answers of receivers mean (RFC 8935 sections 2.2 to 2.4), and when to try again."""

import random
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schema.retry_after import retry_after_s

# The first pause after a failure, and the longest, in seconds; it doubles in between.
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
# What a receiver cannot mean for good: it says that of itself, or of the moment.
_LATER: Final = frozenset({401, 403, 404, 405, 408, 421, 425, 429})


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt.

    `taken`: the receiver has it. `refused` is what it said when it never will. Otherwise there is
    a `problem`, and perhaps how many seconds it asks to be left alone.
    """

    taken: bool = False
    refused: str | None = None
    problem: str = ""
    retry_after_s: float | None = None


def judged(status: int, said: bytes, retry_after: str | None) -> Outcome:
    """Return what an answer means (RFC 8935 sections 2.2 to 2.4).

    400 is final when it carries an error code, and so are other statuses of the client's kind that
    cannot pass by themselves. Everything else may be different later: a receiver under repair, a
    token that has expired, a redirect.
    """
    if 200 <= status < 300:
        return Outcome(taken=True)
    problem = f"status {status}"
    if status == 400:
        error = _error(said)
        if error is not None:
            return Outcome(refused=error)
    elif 400 < status < 500 and status not in _LATER:
        return Outcome(refused=problem)
    return Outcome(problem=problem, retry_after_s=retry_after_s(retry_after))


def _error(said: bytes) -> str | None:
    """Return `err` and `description` of an error answer, or None when it is none."""
    try:
        answer: Any = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("err"), str):
        return None
    description = answer.get("description")
    words = f"{answer['err']}: {description}" if isinstance(description, str) else answer["err"]
    # It goes into the log and into a database: one line, and nothing but text.
    return "".join(letter if letter.isprintable() else " " for letter in words[:500])


def pause_after(attempts: int, wanted_s: float | None) -> float:
    """Return the seconds to wait after so many failures in a row, never less than was asked for."""
    longest = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0 ** min(attempts - 1, 20))
    pause_s = random.uniform(longest / 2, longest)
    return max(pause_s, wanted_s or 0.0)
