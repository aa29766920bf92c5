"""An operation as the description of the API has it: what can be sent, and what can be answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.edge.responses import SCIM_JSON

ANY: Final = {"type": "object"}
TEXT: Final = {"type": "string"}
# Statuses that a storage may cause.
STORED: Final = (501, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What comes with a status: the schema by media type, and the headers."""

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Body:
    """A body that is accepted as its example has it."""

    schema: Any
    example: Any
    media_type: str = SCIM_JSON


@dataclass(frozen=True)
class Operation:
    """An entry of the table: one method at one path.

    `parameters` and `errors` are keys of the vocabulary. The credentials need one of `scopes`; none is for
    public operations, and `is_optional` says that the operation answers without credentials too. Obvious
    statuses are added: 500 everywhere, 401, 403 and 429 unless it is public, and 400, 413, 415
    where there is a body.
    """

    id: str
    method: str
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[str, ...] = ()
    body: Body | None = None
    errors: tuple[int, ...] = ()
    scopes: tuple[str, ...] = ()
    is_optional: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """The errors that can be answered, in order."""
        implied = {500, 401, 403, 429} if self.scopes else {500}
        return tuple(sorted({*self.errors, *implied, *((400, 413, 415) if self.body else ())}))


def scim(schema: Any, description: str = "Done.", headers: tuple[str, ...] = ()) -> Answer:
    """Return an answer in SCIM JSON."""
    return Answer(description, {SCIM_JSON: schema}, headers)
