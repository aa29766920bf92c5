"""ServiceMonitor and HTTPRoute of the chart against the definitions in the Go modules of their projects.

Rules in the language CEL (`x-kubernetes-validations`) are evaluated by Kubernetes only.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.deploy.test_chart import OTHERS, SETUPS, of_kind, rendered

# The module and the file that hold the definition of each kind.
DEFINITIONS = {
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "jsonnet/prometheus-operator/servicemonitors-crd.json",
    ),
    "HTTPRoute": (
        "sigs.k8s.io/gateway-api@v1.4.1",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
}
BASE = SETUPS["celery"]
GIVEN: list[Mapping[str, Any]] = [
    BASE,
    {
        **BASE,
        "serviceMonitor": {"enabled": True, "interval": "90s", "labels": {"release": "prometheus"}},
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["scim.example.com", "*.example.org"],
        },
    },
]


@pytest.fixture(scope="session", params=DEFINITIONS)
def definition(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The definition of a kind; the Go module proxy is asked by `make test-full` only."""
    if not os.environ.get("SCIM_TEST_FULL") or shutil.which("go") is None:
        pytest.skip("`make test-full` reads the definitions from Go modules")
    module, file = DEFINITIONS[request.param]
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    text = (Path(json.loads(done.stdout)["Dir"]) / file).read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def strict(schema: Any) -> Any:
    """Return a schema that refuses the fields that Kubernetes would drop in silence."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items()}
    is_open = "additionalProperties" in found or found.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(found.get("properties"), dict) and found.get("type") == "object" and not is_open:
        found["additionalProperties"] = False
    return found


def validator(definition: dict[str, Any], version: str) -> Draft7Validator:
    (served,) = [one for one in definition["spec"]["versions"] if one["name"] == version]
    assert served["served"] is True
    schema = strict(served["schema"]["openAPIV3Schema"])
    # Every object has these, and Kubernetes checks them itself.
    schema["properties"]["metadata"] = {"type": "object"}
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


@pytest.mark.parametrize("values", GIVEN, ids=["least", "all"])
def test_the_definition_takes_what_the_chart_makes(
    helm: str, definition: dict[str, Any], values: dict[str, Any]
) -> None:
    kind = definition["spec"]["names"]["kind"]
    (made,) = of_kind(rendered(helm, values), kind)
    group, version = made["apiVersion"].split("/")

    assert kind in OTHERS
    assert group == definition["spec"]["group"]
    assert [error.message for error in validator(definition, version).iter_errors(made)] == []


def test_a_field_that_does_not_exist_is_found(helm: str, definition: dict[str, Any]) -> None:
    (made,) = of_kind(rendered(helm, BASE), definition["spec"]["names"]["kind"])
    check = validator(definition, made["apiVersion"].split("/")[1])

    wrong = {**made, "spec": {**made["spec"], "endpoint": []}}
    (error,) = check.iter_errors(wrong)
    assert "'endpoint' was unexpected" in error.message
    of_another_type = {**made, "spec": {**made["spec"], "endpoints": "http", "rules": "all"}}
    assert list(check.iter_errors(of_another_type)) != []
