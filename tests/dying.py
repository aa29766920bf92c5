"""One request in a process that dies over it: `python -m tests.dying POINT METHOD PATH BODY`.

POINT is what the adapter was about to be asked for, or `confirm`: then the write has taken effect and
only the event is missing. The environment chooses the service.
"""

import json
import os
import signal
import sys
from typing import Any

from app import create_app
from app.configuration.settings import Settings


def die(*args: Any, **options: Any) -> None:
    """End this process as a power failure would."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, method: str, path: str, body: str) -> None:
    """Make the request, unless death comes first."""
    app = create_app(Settings.from_env())
    dying = app.extensions["scim.delivery"].notes if point == "confirm" else app.extensions["scim.storage"]
    setattr(dying, point, die)
    headers = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
    app.test_client().open(path, method=method, json=json.loads(body), headers=headers)


if __name__ == "__main__":
    main(*sys.argv[1:])
