"""What to do about a driver that is not installed."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Final

# The extra that brings a module.
_EXTRAS: Final = {
    "psycopg": "postgresql",
    "pymysql": "mysql",
    "mongoengine": "mongodb",
    "pymongo": "mongodb",
    "bson": "mongodb",
    "ldap": "ldap",
    "irods": "irods",
    "celery": "celery",
    "kombu": "celery",
    "redis": "celery",
}
# Debian packages that its compilation needs.
_DEBIAN: Final = {"ldap": "gcc libc6-dev python3-dev libldap-dev libsasl2-dev"}
_SOURCE: Final = Path(__file__).parent.parent.parent


def how_to_install(module: str) -> str:
    """Return the command that installs what `module` is part of, for the Python that is running."""
    extra = _EXTRAS.get(module.partition(".")[0])
    if extra is None:
        return f"the module {module} is not installed"
    before = f"apt-get install {_DEBIAN[extra]} && " if extra in _DEBIAN else ""
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
