"""The contract tests of a backend, for pytest, of version `storage.adapter.CONTRACT_VERSION`.

The author of a backend takes these steps:

1. Install the server from a checkout, with the extra `testing`: `pip install '.[testing]'`.
2. Make an empty store in a fixture: a folder, or a database on a real server that a fixture starts.
3. Subclass `StorageContract` in a test module, with a fixture `adapter` that returns a fresh adapter:

       class TestMine(StorageContract):
           @pytest.fixture
           def adapter(self, tmp_path):
               adapter = ready(open_adapter(path=tmp_path))
               yield adapter
               adapter.close()

   `ready` adds what the backend does not declare, prepares it for `REGISTRY`, and translates ids where
   the backend gives ids of its own. An adapter may stay open for many tests, if its store is emptied.
4. Run pytest. A test of a capability that `adapter.capabilities` does not declare is skipped.
5. Where other programs write into the store, override `plant`: one id then belongs to a user and to a
   group. Without it, those tests are skipped. `storage.testing.foreign` has documents as such programs
   leave them: write them, then call `check_served`.
6. Where the backend cannot do what a test asserts, override that test: it asserts the exact difference.
7. Before a release, run more random cases: `SCIM_TEST_CASES=5000`, and other ones by `SCIM_TEST_SEED`.
   A failure ends with the two variables that repeat the one case.
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
