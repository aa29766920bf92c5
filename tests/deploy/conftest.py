"""Programs for these tests that come as Go modules."""

import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of helm: the one on the PATH, or one made from its Go module (`make test-full`)."""
    found = shutil.which("helm")
    if found:
        return found
    if not os.environ.get("SCIM_TEST_FULL") or shutil.which("go") is None:
        pytest.skip("helm is not installed; `make test-full` makes it from its Go module")
    folder = tmp_path_factory.mktemp("helm")
    command = ["go", "install", "helm.sh/helm/v3/cmd/helm@v3.22.0"]
    subprocess.run(command, check=True, env={**os.environ, "GOBIN": str(folder)})
    return str(folder / "helm")
