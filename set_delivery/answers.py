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
# Error codes that are about the transmitter, not about the SET (RFC 8935 section 2.4).
_TRANSMITTER: Final = frozenset({"authentication_failed", "access_denied"})


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt.

    `taken`: the receiver has it. `refused` is what it said when it never will. Otherwise there is
    a `problem`, and perhaps how many seconds it asks to be left alone; `is_doubtful` when the problem
    may be this SET, so that it is not tried again for ever.
    """

    taken: bool = False
    refused: str | None = None
    problem: str = ""
    is_doubtful: bool = False
    retry_after_s: float | None = None


def judged(status: int, said: bytes, retry_after: str | None) -> Outcome:
    """Return what an answer means (RFC 8935 sections 2.2 to 2.4).

    400 is final when it carries an error code about the SET, doubtful when it carries none. Other
    statuses of the client's kind are final when they cannot pass by themselves. Everything else may
    be different later: a receiver under repair, a token that has expired, a redirect.
    """
    if 200 <= status < 300:
        return Outcome(taken=True)
    problem, is_doubtful = f"status {status}", False
    if status == 400:
        code, words = _error(said)
        if code and is_final(code):
            return Outcome(refused=words)
        problem, is_doubtful = f"{problem}: {words}" if code else problem, not code
    elif 400 < status < 500 and status not in _LATER:
        return Outcome(refused=problem)
    return Outcome(problem=problem, retry_after_s=retry_after_s(retry_after), is_doubtful=is_doubtful)


def is_final(code: str) -> bool:
    """Return whether an error code says that the same SET will never be accepted.

    Those about its key, issuer and audience do: they are parts of the SET, and RFC 8935 section 2
    wants no SET sent again unless the failure may pass by itself.
    """
    return code not in _TRANSMITTER


def _error(said: bytes) -> tuple[str, str]:
    """Return `err`, and with `description` as a line, of an error answer; empty when it is none."""
    try:
        answer: Any = orjson.loads(said)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(answer, dict) or not isinstance(answer.get("err"), str):
        return "", ""
    code, description = answer["err"], answer.get("description")
    words = f"{code}: {description}" if isinstance(description, str) else code
    # It goes into the log and into a database: one line, and nothing but text.
    return code, "".join(letter if letter.isprintable() else " " for letter in words[:500])


def pause_after(attempts: int, wanted_s: float | None) -> float:
    """Return the seconds to wait after so many failures in a row, never less than was asked for."""
    longest = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0 ** min(attempts - 1, 20))
    pause_s = random.uniform(longest / 2, longest)
    return max(pause_s, wanted_s or 0.0)
