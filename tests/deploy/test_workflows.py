"""The workflows of GitHub: checked by schema and linter here, and run by GitHub only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(path.name for path in (GITHUB / "workflows").iterdir())
CHECKED = [("github-workflows", f"workflows/{name}") for name in WORKFLOWS]
# `on` is a truth value in YAML.
ON = True


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / name).read_text())
    return found


def steps_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("steps", ()))


def uses(name: str, action: str) -> list[dict[str, Any]]:
    """Return the inputs of each use of an action in a workflow."""
    jobs = workflow(name)["jobs"].values()
    steps = [step for job in jobs for step in steps_of(job)]
    return [step.get("with", {}) for step in steps if step.get("uses", "").startswith(f"{action}@")]


@pytest.mark.parametrize(("schema", "name"), [*CHECKED, ("dependabot", "dependabot.yml")])
def test_the_schema_of_github_takes_the_file(schema: str, name: str) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"

    done = subprocess.run(
        [checker, "--builtin-schema", f"vendor.{schema}", GITHUB / name], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_job_ends_in_time_and_may_do_little(name: str) -> None:
    found = workflow(name)

    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert "concurrency" in found or "concurrency" in job
        # A job that calls another workflow has the limits of that workflow.
        assert "timeout-minutes" in job or job["uses"].startswith("./")
        for step in steps_of(job):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_to_a_version(name: str) -> None:
    named = re.findall(r"uses: (\S+)", (GITHUB / "workflows" / name).read_text())

    for one in named:
        if one.startswith("./"):
            assert (ROOT / one).is_file()
        else:
            assert re.search(r"@(v\d+(\.\d+)*|[0-9a-f]{40})$", one), one


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_command_of_make_is_in_the_makefile(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step.get("run", "") for job in workflow(name)["jobs"].values() for step in steps_of(job)]

    assert {target for run in commands for target in re.findall(r"\bmake ([a-z-]+)", run)} <= targets


def test_pushes_and_pull_requests_run_the_tests_as_root_of_the_python_that_is_required() -> None:
    found = workflow("test.yml")

    assert {"push", "pull_request"} <= found[ON].keys()
    job = found["jobs"]["test"]
    # Packages of Debian are installed, which needs root: containers have it, runners do not.
    assert job["container"]["image"] == "python:3.11-bookworm"
    assert job["timeout-minutes"] == 90
    assert job["env"] == {"SCIM_TEST_REQUIRE": "all"}
    assert [step["run"] for step in steps_of(job) if "run" in step] == ["make test"]


def test_a_tag_publishes_a_signed_image_for_both_architectures() -> None:
    found = workflow("image.yml")
    check, build = uses("image.yml", "docker/build-push-action")
    commands = [step.get("run", "") for step in steps_of(found["jobs"]["image"])]

    assert found[ON] == {"push": {"tags": ["v*"]}}
    # The tests come first, and the version of the image is compared with the tag.
    assert found["jobs"]["image"]["needs"] == "test"
    assert "push" not in check and check["load"] is True
    assert any("--version" in run and "GITHUB_REF_NAME#v" in run for run in commands)
    assert build["platforms"].split(",") == ["linux/amd64", "linux/arm64"]
    assert (build["push"], build["sbom"], build["provenance"]) == (True, True, "mode=max")
    assert build["cache-from"] == "type=gha" and build["cache-to"].startswith("type=gha")
    assert build["labels"] == "${{ steps.metadata.outputs.labels }}"
    (metadata,) = uses("image.yml", "docker/metadata-action")
    assert metadata["images"] == "ghcr.io/${{ github.repository }}"
    # A tag may name another image by then; the digest of the build cannot.
    (sign,) = [step for step in steps_of(found["jobs"]["image"]) if "cosign sign" in step.get("run", "")]
    assert re.fullmatch(r'cosign sign --yes .*@\$DIGEST"', sign["run"])
    assert sign["env"]["DIGEST"] == "${{ steps.build.outputs.digest }}"
    assert found["jobs"]["image"]["permissions"] == {
        "contents": "read",
        "packages": "write",
        "id-token": "write",
    }


def test_the_chart_follows_its_image() -> None:
    jobs = workflow("image.yml")["jobs"]

    assert jobs["chart"]["uses"] == "./.github/workflows/chart.yml"
    assert jobs["chart"]["needs"] == "image"
    assert workflow("chart.yml")[ON] == {"workflow_call": None}


def test_the_steps_before_the_push_of_the_chart_work_on_the_chart(tmp_path: Path) -> None:
    # Each `run` as GitHub's shell would, up to the first that needs helm.
    job = workflow("chart.yml")["jobs"]["chart"]
    commands = [step["run"] for step in steps_of(job) if "run" in step]
    checks = commands[: next(number for number, run in enumerate(commands) if run.startswith("helm"))]
    chart = tmp_path / "chart"
    shutil.copytree(ROOT / job["env"]["CHART"], chart)
    version = yaml.safe_load((chart / "Chart.yaml").read_text())["version"]

    def run(tag: str) -> list[int]:
        environ = {"CHART": str(chart), "GITHUB_REPOSITORY": "Org/Scim", "GITHUB_REF_NAME": tag}
        environ["PATH"] = os.environ["PATH"]
        return [subprocess.run(["bash", "-ec", command], env=environ).returncode for command in checks]

    assert run("v9.9.9")[0] == 1
    # The values name the published image by now, and cannot be changed again.
    shutil.copytree(ROOT / job["env"]["CHART"], chart, dirs_exist_ok=True)
    assert run(f"v{version}") == [0, 0]
    assert yaml.safe_load((chart / "values.yaml").read_text())["image"]["repository"] == "ghcr.io/org/scim"


def test_dependabot_looks_where_versions_are() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]

    assert {(one["package-ecosystem"], one["directory"]) for one in updates} == {
        ("github-actions", "/"),
        ("docker", "/"),
        ("docker-compose", "/deploy"),
    }
    assert (ROOT / "Dockerfile").exists() and (ROOT / "deploy" / "compose.yaml").exists()


def test_actionlint_finds_nothing_wrong(tmp_path: Path) -> None:
    linter = shutil.which("actionlint")
    if linter is None:
        if not os.environ.get("SCIM_TEST_FULL") or shutil.which("go") is None:
            pytest.skip("actionlint is not installed; `make test-full` makes it from its Go module")
        command = ["go", "install", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"]
        subprocess.run(command, check=True, env={**os.environ, "GOBIN": str(tmp_path)})
        linter = str(tmp_path / "actionlint")

    done = subprocess.run(
        [linter, *(GITHUB / "workflows" / name for name in WORKFLOWS)], capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (0, "")
