"""A read as the edge has it: the WSGI environment, and the context of the client that sent it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import g, request

from app.edge.headers import read_conditions
from app.protocol.context import Context
from app.protocol.preconditions import Conditions
from app.protocol.profiles import Profile, profile_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A request without a body whose client is known."""

    environ: Mapping[str, Any]
    context: Context

    @property
    def profile(self) -> Profile:
        """What the client is granted."""
        return profile_of(self.context.profile)

    @property
    def arguments(self) -> Mapping[str, str]:
        """The query arguments; of several with one name the first."""
        text = self.environ.get("QUERY_STRING")
        if not text:
            return {}
        query = text.encode("latin-1").decode(errors="replace")
        return dict(reversed(parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote")))

    @property
    def conditions(self) -> Conditions:
        """What If-Match and If-None-Match say. Raises InvalidSyntax where the letter counts."""
        return read_conditions(self.environ, self.profile)


def current_asked() -> Asked:
    """Return the request at hand, once it is authenticated."""
    return Asked(request.environ, g.context)
