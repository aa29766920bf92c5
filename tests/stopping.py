"""A worker that stops over one request, as if its machine slept: `python -m tests.stopping POINT`.

POINT is what it was about to do: `begin`, to keep the intent of a write, or `create`, to send it. It goes
on when it is sent SIGCONT. The environment chooses the service.
"""

import os
import signal
import sys
from typing import Any

from app import create_app
from app.configuration.settings import Settings


def main(point: str) -> None:
    """Do the work that is due, and stop once on the way."""
    app = create_app(Settings.from_env())
    stopping: Any = app.extensions["scim.storage" if point == "create" else "scim.delivery"]
    stopping = stopping if point == "create" else stopping.notes
    go_on = getattr(stopping, point)

    def stop(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return go_on(*args, **options)

    setattr(stopping, point, stop)
    app.extensions["scim.work"].run_once()


if __name__ == "__main__":
    main(*sys.argv[1:])
