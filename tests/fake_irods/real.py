"""A real zone that the tests may use: IRODS_TEST_HOST, _PORT, _ZONE, _USERNAME and _PASSWORD say which.

What was there when the tests began stays, unless it carries the service's own metadata.
"""

import os

from irods.column import Like
from irods.models import User, UserMeta
from irods.session import iRODSSession

from storage.irods.form import HOLDER


class RealZone:
    """A zone that somebody else runs."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.port = int(environ["IRODS_PORT"])
        with self._session() as session:
            ours = {row[User.id] for row in session.query(User.id).filter(Like(UserMeta.name, "scim.%"))}
            self._there = {row[User.id] for row in session.query(User.id)} - ours

    def empty(self) -> None:
        """Remove the users and groups that have come since, except what a service makes once at its start."""
        with self._session() as session:
            for row in list(session.query(User.id, User.name, User.zone)):
                is_there = row[User.id] in self._there or row[User.name] == HOLDER
                if not is_there and row[User.zone] == session.zone:
                    session.users.remove(row[User.name])

    def _session(self) -> iRODSSession:
        environ = self.environ
        return iRODSSession(
            host=environ["IRODS_HOST"],
            port=self.port,
            user=environ["IRODS_ADMIN_USERNAME"],
            password=environ["IRODS_ADMIN_PASSWORD"],
            zone=environ["IRODS_ZONE"],
        )

    def stop(self) -> None:
        """Leave it empty."""
        self.empty()


def real_zone() -> RealZone | None:
    """Return the zone that the environment names, if it does."""
    host = os.environ.get("IRODS_TEST_HOST")
    if not host:
        return None
    return RealZone(
        {
            "IRODS_HOST": host,
            "IRODS_PORT": os.environ.get("IRODS_TEST_PORT", "1247"),
            "IRODS_ZONE": os.environ.get("IRODS_TEST_ZONE", "tempZone"),
            "IRODS_ADMIN_USERNAME": os.environ.get("IRODS_TEST_USERNAME", "rods"),
            "IRODS_ADMIN_PASSWORD": os.environ.get("IRODS_TEST_PASSWORD", "rods"),
        }
    )
