"""What to do about a driver that is not installed."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Final

from storage.registry import own_backends

# The extra that brings a module; the backends declare their own.
_EXTRAS: Final = {"celery": "celery", "kombu": "celery", "redis": "celery", "opentelemetry": "tracing"}
_SOURCE: Final = Path(__file__).parent.parent.parent


def how_to_install(module: str) -> str:
    """Return the command that installs what `module` is part of, for the Python that is running."""
    top = module.partition(".")[0]
    needing = next((options for options in own_backends().values() if top in options.drivers), None)
    extra = needing.drivers[top] if needing else _EXTRAS.get(top)
    if extra is None:
        return f"the module {module} is not installed"
    before = f"apt-get install {needing.debian} && " if needing and needing.debian else ""
    return f"its driver ({module}) is not installed; install it with: {before}{_pip(extra)}"


def _pip(extra: str) -> str:
    pip = _short(Path(sys.prefix) / "bin" / "pip")
    if (_SOURCE / "setup.cfg").exists():
        here = "." if _SOURCE == Path.cwd() else str(_SOURCE)
        return f"{pip} install -e '{here}[{extra}]'"
    # Without the source, by the names of the packages: ours is not published.
    marker = f'extra == "{extra}"'
    wanted = importlib.metadata.requires("scim-gateway") or []
    names = [one.partition(";")[0].strip() for one in wanted if marker in one.replace("'", '"')]
    return f"{pip} install {' '.join(repr(name) for name in names)}"


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
