"""Which pages there are, by the name of their file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.generate import command_line, errors, http_api, metrics, schemas, settings

REFERENCE: Final = Path(__file__).parent.parent / "reference"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings.page,
    "command-line.md": command_line.page,
    "http-api.md": http_api.page,
    "errors.md": errors.page,
    "metrics.md": metrics.page,
    "schemas.md": schemas.page,
}
