"""How a program that cannot start says why."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.configuration.settings import SettingsError
from schema.errors import DefinitionError
from storage.errors import StorageError

# With these, gunicorn and uwsgi end, where they would replace a process that ended otherwise.
GUNICORN_ENDS: Final = 3
_UWSGI_ENDS: Final = 22


@contextmanager
def problems_said(exit_code: int = 1) -> Iterator[None]:
    """End the program with a line for each thing that is wrong, and no traceback."""
    try:
        yield
    except (SettingsError, DefinitionError, StorageError) as exc:
        lines = [f"scim: {line}" for line in str(exc).splitlines()]
        if "uwsgi" in sys.modules:
            _end_uwsgi(lines)
        print(*lines, sep="\n", file=sys.stderr, flush=True)
        sys.exit(exit_code)


def _end_uwsgi(lines: list[str]) -> None:
    # Each process comes here: one of them speaks. None of them survives an exception of this kind.
    if importlib.import_module("uwsgi").worker_id() <= 1:
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    os._exit(_UWSGI_ENDS)
