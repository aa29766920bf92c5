"""The other files for deployment, each checked by the program or the schema that reads it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.configuration.settings import Settings
from tests.servers import program

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = ["compose.yaml", "compose.minimal.yaml"]


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())["services"]
    return found


@pytest.mark.parametrize("name", COMPOSE)
def test_the_schema_of_compose_takes_the_file(name: str) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"

    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / name], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", COMPOSE)
def test_every_container_is_hardened_and_bounded(name: str) -> None:
    for service in services(name).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert "memory" in service["deploy"]["resources"]["limits"]
        # That of the image asks the web server, which a worker is not.
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", COMPOSE)
def test_passwords_are_in_files_and_every_variable_is_known(name: str) -> None:
    known = {*Settings.variables(), *Settings.file_variables()}
    for service in services(name).values():
        if "scim-gateway" in service["image"]:
            assert service["environment"].keys() <= known
        for variable in service.get("environment", {}):
            assert not variable.endswith(("KEY", "PASSWORD", "_URL")) or variable == "BASE_URL"


def test_what_the_secrets_are_made_of_fits(tmp_path: Path) -> None:
    (tmp_path / "make-secrets.sh").write_text((DEPLOY / "make-secrets.sh").read_text())

    for _ in range(2):
        subprocess.run(["sh", tmp_path / "make-secrets.sh"], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir() if path.is_file()}

    names = ("api_key", "secret_keys", "database_url")
    settings = Settings.from_env({name.upper(): made[name] for name in names})
    assert settings.backend[0] == "sql"
    assert made["postgres_password"] in made["database_url"]
    assert len(made["api_key"]) == 48
    containers = [one for name in COMPOSE for one in services(name).values()]
    needed = {secret for one in containers for secret in one.get("secrets", ())}
    assert made.keys() == needed
    assert (tmp_path / "secrets" / "tls" / "tls.crt").exists()


@pytest.mark.parametrize("name", ["scim-web.service", "scim-worker.service"])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, name: str) -> None:
    analyze = program("systemd-analyze")
    unit = tmp_path / name
    # Here the command is elsewhere, and there is no such user.
    text = (DEPLOY / "systemd" / name).read_text()
    unit.write_text(text.replace("/opt/scim/bin/scim", "/bin/true"))

    verified = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True
    )

    assert verified.stderr == ""
    assert verified.returncode == 0
    assert judged.returncode == 0, judged.stdout


def test_the_environment_of_the_units_is_known() -> None:
    lines = (DEPLOY / "systemd" / "scim.env").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}

    assert names <= {*Settings.variables(), *Settings.file_variables()}


@pytest.mark.parametrize("name", ["application.yaml", "applicationset.yaml"])
def test_argocd_is_given_a_chart_that_exists_and_values_that_it_knows(name: str) -> None:
    found = yaml.safe_load((DEPLOY / "argocd" / name).read_text())
    source = found["spec"].get("source") or found["spec"]["template"]["spec"]["source"]
    known = yaml.safe_load((DEPLOY / "helm" / "scim-gateway" / "values.yaml").read_text())

    assert os.path.exists(DEPLOY.parent / source["path"] / "Chart.yaml")
    assert source["helm"]["valuesObject"].keys() <= known.keys()
