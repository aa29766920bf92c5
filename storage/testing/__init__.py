"""The contract tests of a backend, for pytest; `pip install scim-gateway[testing]` installs what they need.

The author of a backend takes these steps:

1. Make an empty store: a folder, or a database on a server that a fixture starts.
2. Subclass `StorageContract` in a test module, with a fixture `adapter` that returns a fresh adapter:

       class TestMine(StorageContract):
           @pytest.fixture
           def adapter(self, tmp_path):
               adapter = ready(open_adapter(path=tmp_path))
               yield adapter
               adapter.close()

   `ready` adds what the backend does not declare, prepares it for `REGISTRY`, and translates ids where
   the backend gives ids of its own.
3. Run pytest. Each part reads `adapter.capabilities`; a test of something undeclared is skipped.
4. Where other programs write into the store, override `plant`: one id then belongs to a user and to a
   group. Without it, those tests are skipped.
"""

from pkgutil import iter_modules

import pytest

# A failure then shows the values that differ; before the parts are imported.
pytest.register_assert_rewrite(*(f"{__name__}.{part.name}" for part in iter_modules(__path__)))

from storage.testing.contract import StorageContract  # noqa: E402
from storage.testing.links import (  # noqa: E402
    among,
    change_members,
    found_by_id,
    members,
    members_of,
    memberships_of,
)
from storage.testing.resources import (  # noqa: E402
    GROUP,
    LATER,
    NOW,
    REGISTRY,
    USER,
    ids_matching,
    in_threads,
    ready,
    represent,
    stored,
)
from storage.testing.searching import fill  # noqa: E402

__all__ = [
    "GROUP",
    "LATER",
    "NOW",
    "REGISTRY",
    "StorageContract",
    "USER",
    "among",
    "change_members",
    "fill",
    "found_by_id",
    "ids_matching",
    "in_threads",
    "members",
    "members_of",
    "memberships_of",
    "ready",
    "represent",
    "stored",
]
