"""What the upstream can do is asked once, and again after it was away; what it refuses is counted."""

from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend
from tests.storage.forward.quirks import refusing
from tests.upstream import UPSTREAM_KEY, Upstream

CONFIG = "GET /ServiceProviderConfig"


def test_abilities_are_asked_for_once_and_after_the_upstream_was_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = Upstream(tmp_path / "scim.db", around=refusing("PUT", "501 Not Implemented"))
    adapter = open_backend("forward", forward_scim_url=older.url, forward_scim_key=UPSTREAM_KEY)
    adapter.prepare(REGISTRY.resource_types)
    user = adapter.create(USER, stored("x", userName="a"))
    for title in "abc":
        adapter.replace(USER, stored(user.id, userName="a", title=title))
    put = f"PUT /Users/{user.id}"

    assert older.requests.count(CONFIG) == 1
    # Refused once, it is not tried again.
    assert older.requests.count(put) == 1
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == ["the upstream refuses PUT or ignores it: 1 fallbacks now"]

    older.stop()
    with pytest.raises(StorageUnavailable):
        adapter.get(USER, user.id)
    newer = Upstream(tmp_path / "scim.db", older.port)
    adapter.replace(USER, stored(user.id, userName="a", title="d"))

    assert newer.requests.count(CONFIG) == 1 and newer.requests.count(put) == 1
    adapter.close()
    newer.stop()
