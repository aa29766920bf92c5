"""The credential for the upstream, where it is the first API key."""

from collections.abc import Callable

import pytest

from tests.conftest import KEY, ScimClient
from tests.upstream import UPSTREAM_KEY

pytestmark = pytest.mark.on("forward")


@pytest.mark.parametrize(
    ("keys", "said"),
    [(f"{UPSTREAM_KEY},{KEY}", "the first of several keys in API_KEY"), (UPSTREAM_KEY, "API_KEY")],
)
def test_the_start_warns_that_the_credential_changes_with_the_first_key(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture, keys: str, said: str
) -> None:
    scim = make_scim(API_KEY=keys, FORWARD_SCIM_KEY="")
    headers = {"Authorization": f"Bearer {keys.split(',')[-1]}"}
    assert scim("GET", "/Users?count=0", headers=headers).status_code == 200
    assert f"FORWARD_SCIM_KEY: is not set, so the credential for the upstream is {said}: it" in caplog.text
    assert UPSTREAM_KEY not in caplog.text

    caplog.clear()
    make_scim(API_KEY=keys)
    assert "FORWARD_SCIM_KEY" not in caplog.text
