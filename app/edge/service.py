"""Flask without what a service provider has no use for, which would cost every request."""

from collections.abc import Callable
from typing import Any

import flask
from flask.sessions import NullSession, SessionInterface

from app.edge.responses import NOSNIFF, Response


class _NoSession(SessionInterface):
    """There are no sessions: every request carries its credentials. A null session is never saved."""

    def open_session(self, app: flask.Flask, request: flask.Request) -> NullSession:
        return NullSession()


class Service(flask.Flask):
    """The application. Its views return responses of our own, which leave as they are."""

    session_interface = _NoSession()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No view is a coroutine; looking whether one is takes longer than finding the view.
        return func

    def make_response(self, rv: Any) -> Any:
        return rv if isinstance(rv, Response) else super().make_response(rv)

    def process_response(self, response: Any) -> Any:
        # Of Flask are the answers with a file.
        if not isinstance(response, Response):
            response.headers.add(*NOSNIFF)
        return response
