"""The Helm chart, rendered by helm and checked against the schemas of Kubernetes."""

import json
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.configuration.settings import Settings

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "scim-gateway"
# helm pretends to talk to this version; the schemas are those of it.
KUBERNETES = "1.30"

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kubernetes.md"


def documented() -> dict[str, dict[str, Any]]:
    """Return the values of each setup that the page shows, by the name of its file."""
    found = re.findall(r"^```yaml\n# (\w+)\.yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {name: yaml.safe_load(text) for name, text in found}


SETUPS = documented()
# Their schemas come from their Go modules: tests/deploy/test_custom_resources.py.
OTHERS = {"ServiceMonitor", "HTTPRoute"}


def run(helm: str, *words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    given = yaml.safe_dump(values or {})
    command = [helm, *words, "--values", "-"]
    return subprocess.run(command, input=given, capture_output=True, text=True)


def rendered(helm: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    done = run(helm, "template", "scim", str(CHART), "--kube-version", KUBERNETES, values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deployed = [one["spec"]["template"]["spec"] for one in of_kind(objects, "Deployment")]
    return deployed + [one["spec"] for one in of_kind(objects, "Pod")]


@pytest.mark.parametrize("name", SETUPS)
def test_helm_finds_nothing_wrong(helm: str, name: str) -> None:
    done = run(helm, "lint", str(CHART), "--strict", "--kube-version", KUBERNETES, values=SETUPS[name])

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SETUPS)
def test_kubernetes_takes_every_object(helm: str, name: str) -> None:
    objects = rendered(helm, SETUPS[name])

    checked = [one for one in objects if one["kind"] not in OTHERS]
    for one in checked:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    assert len(checked) >= 6


@pytest.mark.parametrize("name", SETUPS)
def test_every_pod_is_restricted(helm: str, name: str) -> None:
    for pod in pods(rendered(helm, SETUPS[name])):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_the_largest_setup_has_every_part_that_its_heading_promises(helm: str) -> None:
    kinds = {one["kind"] for one in rendered(helm, SETUPS["celery"])}

    assert {"HTTPRoute", "NetworkPolicy", "ServiceMonitor", "HorizontalPodAutoscaler"} <= kinds
    assert len(of_kind(rendered(helm, SETUPS["celery"]), "Deployment")) == 3


def test_the_chart_is_that_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == version("scim-gateway")


def test_the_page_names_the_oldest_kubernetes_that_the_chart_takes() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    (oldest,) = re.findall(r"needs Kubernetes (\S+) or later", PAGE.read_text())
    assert chart["kubeVersion"] == f">={oldest}.0-0"


def test_any_uid_is_possible(helm: str) -> None:
    for pod in pods(rendered(helm, SETUPS["celery"])):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()


def test_the_embedded_store_is_on_a_volume_that_one_pod_has(helm: str) -> None:
    objects = rendered(helm, SETUPS["embedded"])

    (web,) = of_kind(objects, "Deployment")
    assert web["spec"]["strategy"] == {"type": "Recreate"}
    assert web["spec"]["replicas"] == 1
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    volumes = web["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in volumes


def test_secrets_reach_the_server_as_files(helm: str) -> None:
    objects = rendered(helm, SETUPS["sql"])

    (config,) = of_kind(objects, "ConfigMap")
    (web,) = of_kind(objects, "Deployment")
    (container,) = web["spec"]["template"]["spec"]["containers"]
    assert "DATABASE_URL" not in config["data"]
    assert of_kind(objects, "Secret") == []
    assert {"name": "DATABASE_URL_FILE", "value": "/run/secrets/scim/DATABASE_URL"} in container["env"]


@pytest.mark.parametrize("name", SETUPS)
def test_the_server_knows_every_variable_that_it_is_given(helm: str, name: str) -> None:
    objects = rendered(helm, SETUPS[name])

    given = {variable for one in of_kind(objects, "ConfigMap") for variable in one["data"]}
    for pod in pods(objects):
        given |= {entry["name"] for container in pod["containers"] for entry in container.get("env", ())}
    assert given <= {*Settings.variables(), *Settings.file_variables()}


def test_the_chart_knows_every_secret_that_the_server_reads_from_a_file() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert [f"{name}_FILE" for name in schema["definitions"]["secret"]["enum"]] == sorted(
        Settings.file_variables()
    )


def test_a_large_number_reaches_the_server_in_figures(helm: str) -> None:
    values = {"settings": {"MAX_BODY_SIZE": 10485760, "REQUEST_TIMEOUT": 2.5, "SET_POLL_ENABLED": True}}

    (config,) = of_kind(rendered(helm, values), "ConfigMap")

    assert config["data"]["MAX_BODY_SIZE"] == "10485760"
    assert config["data"]["REQUEST_TIMEOUT"] == "2.5"
    assert config["data"]["SET_POLL_ENABLED"] == "true"


def test_every_changed_variable_replaces_the_web_pods(helm: str) -> None:
    def template_of(**values: Any) -> Any:
        web, *_ = of_kind(rendered(helm, {**SETUPS["sql"], **values}), "Deployment")
        return web["spec"]["template"]["metadata"]["annotations"]

    before = template_of()

    assert template_of() == before
    for changed in ({"web": {"workers": 3}}, {"web": {"threads": 3}}, {"worker": {"enabled": True}}):
        assert template_of(**changed) != before, changed


def test_the_network_policy_lets_the_chart_test_call_the_service(helm: str) -> None:
    objects = rendered(helm, SETUPS["celery"])
    (policy,) = of_kind(objects, "NetworkPolicy")
    (test,) = of_kind(objects, "Pod")
    labels = test["metadata"]["labels"]

    callers = policy["spec"]["ingress"][0]["from"]
    assert labels in [peer.get("podSelector", {}).get("matchLabels") for peer in callers]
    # The destinations of the server are no limit for the test.
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert expression["operator"] == "NotIn"
    assert labels[expression["key"]] in expression["values"]


def test_a_database_that_is_away_takes_a_pod_out_of_service_and_does_not_restart_it(helm: str) -> None:
    web, *_ = of_kind(rendered(helm, SETUPS["sql"]), "Deployment")
    (container,) = web["spec"]["template"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}

    assert paths == {
        "startupProbe": "/health",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health",
    }


def test_a_waiting_request_ends_before_its_pod(helm: str) -> None:
    for one in of_kind(rendered(helm, SETUPS["sql"]), "Deployment"):
        assert one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 45


@pytest.mark.parametrize(
    "values, meant",
    [
        ({"backend": "postgres"}, "/backend"),
        ({"web": {"replica": 2}}, "replica"),
        ({"settings": {"page_size": "1"}}, "page_size"),
        ({"backend": "sql"}, "DATABASE_URL"),
        ({"web": {"replicas": 2}}, "one pod"),
        ({"autoscaling": {"enabled": True}}, "one pod"),
        ({"worker": {"enabled": True}}, "one pod"),
        ({"backend": "files", "worker": {"enabled": True}}, "one pod"),
        ({"settings": {"DATABASE_URL": "postgresql://h/d"}}, "DATABASE_URL"),
        (
            {
                "backend": "mongodb",
                "secrets": {"values": {"MONGO_DB": "mongodb://h"}},
                "web": {"replicas": 2},
            },
            "STATE_DATABASE_URL",
        ),
        (
            {
                "backend": "ldap",
                "settings": {"LDAP_HOSTNAME": "ldap", "STATE_DATABASE_URL": "sqlite:////tmp/state.db"},
                "worker": {"enabled": True},
            },
            "cannot share the SQLite file",
        ),
        (
            {"backend": "sql", "secrets": {"values": {"DATABASE_URL": "sqlite:////var/lib/scim/scim.db"}}},
            "lost with its pod",
        ),
        ({"celery": {"enabled": True}}, "worker.enabled"),
        ({"web": {"terminationGracePeriodSeconds": 20}}, "terminationGracePeriodSeconds"),
        ({"ingress": {"enabled": True}}, "ingress.hosts"),
        ({"settings": {"PORT": "80"}}, "PORT"),
        ({"secrets": {"existingSecret": "s", "keys": ["LDAP_HOSTNAME"]}}, "/secrets/keys/0"),
        ({"secrets": {"values": {"API_KYE": "k"}}}, "API_KYE"),
        ({"secrets": {"existingSecret": "s", "keys": ["API_KEY"], "values": {"API_KEY": "k"}}}, "both set"),
        ({"secrets": {"existingSecret": "s"}}, "needs secrets.keys"),
        ({"secrets": {"keys": ["API_KEY"]}}, "needs secrets.existingSecret"),
        ({"secrets": {"values": {"API_KEY": ""}}}, "API_KEY is empty"),
        # The ServiceMonitor reads the key from a Secret.
        ({"settings": {"API_KEY": "k"}, "serviceMonitor": {"enabled": True}}, "API_KEY among the secrets"),
        ({"backend": "sql", "settings": {"DATABASE_URL": ""}}, "needs the setting DATABASE_URL"),
        (
            {
                "backend": "ldap",
                "settings": {"LDAP_HOSTNAME": "ldap", "STATE_DATABASE_URL": ""},
                "web": {"replicas": 2},
            },
            "set STATE_DATABASE_URL",
        ),
        (
            {
                "backend": "sql",
                "settings": {"STATE_DATABASE_URL": "sqlite:////tmp/state.db"},
                "secrets": {"values": {"DATABASE_URL": "postgresql://h/d"}},
                "web": {"replicas": 2},
            },
            "with the resources; remove it",
        ),
        (
            {
                "backend": "sql",
                "secrets": {"values": {"DATABASE_URL": "postgresql://h/d"}},
                "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 2},
            },
            "minReplicas",
        ),
        ({"settings": {"LDAP_PASSWORD": "p"}}, "move it to secrets"),
        (
            {"backend": "sql", "settings": {"DATABASE_URL": "postgresql://scim:p@h/d"}},
            "contains a password",
        ),
        (
            {"settings": {"STATE_DATABASE_URL": "postgresql://h/d"}},
            "with the resources; remove it",
        ),
        (
            {"backend": "ldap", "settings": {"LDAP_HOSTNAME": "ldap", "SET_POLL_ENABLED": True}},
            "lost with the pod: set STATE_DATABASE_URL",
        ),
        (
            {"backend": "ldap", "settings": {"LDAP_HOSTNAME": "ldap", "ASYNC_REQUEST": "long"}},
            "lost with the pod: set STATE_DATABASE_URL",
        ),
        (
            {
                "backend": "ldap",
                "settings": {"LDAP_HOSTNAME": "ldap"},
                "secrets": {"values": {"FIRST_TOKEN": "t"}},
            },
            "set STATE_DATABASE_URL for FIRST_TOKEN",
        ),
        ({"settings": {"FIRST_TOKEN": "t"}}, "move it to secrets"),
        ({"secrets": {"mountPath": "/tmp/secrets"}}, "/secrets/mountPath"),
        ({"nameOverride": "Scim_Server"}, "/nameOverride"),
        ({"fullnameOverride": "1scim"}, "/fullnameOverride"),
        ({"podDisruptionBudget": {"maxUnavailable": "one"}}, "/podDisruptionBudget/maxUnavailable"),
        ({"persistence": {"size": "1.2.3Gi"}}, "/persistence/size"),
        # Helm would read 0123 as an octal number.
        ({"secrets": {"values": {"API_KEY": 123456789012}}}, "got number, want string"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: str, values: dict[str, Any], meant: str) -> None:
    done = run(helm, "template", "scim", str(CHART), "--kube-version", KUBERNETES, values=values)

    assert done.returncode != 0
    assert meant in done.stderr


# The setting that each backend on other machines needs.
REMOTE = {
    "MONGO_DB": "mongodb",
    "LDAP_HOSTNAME": "ldap",
    "JUMPCLOUD_URL": "jumpcloud",
    "FORWARD_SCIM_URL": "forward",
    "IRODS_HOST": "irods",
}
SEVERAL: list[dict[str, Any]] = [
    {"web": {"replicas": 2}},
    {"autoscaling": {"enabled": True}},
    {"worker": {"enabled": True}},
]


@pytest.mark.parametrize("setting", REMOTE)
def test_several_pods_without_a_shared_state_database_are_refused(helm: str, setting: str) -> None:
    def template(names: list[str], **values: Any) -> subprocess.CompletedProcess[str]:
        keys = [name for name in names if f"{name}_FILE" in Settings.file_variables()]
        plain = {name: "backend.example.com" for name in names if name not in keys}
        secrets = {"existingSecret": "scim", "keys": keys} if keys else {}
        given = {"backend": REMOTE[setting], "settings": plain, "secrets": secrets, **values}
        return run(helm, "template", "scim", str(CHART), "--kube-version", KUBERNETES, values=given)

    for several in SEVERAL:
        refused = template([setting], **several)
        assert refused.returncode != 0
        assert "set STATE_DATABASE_URL" in refused.stderr
        allowed = template([setting, "STATE_DATABASE_URL"], **several)
        assert allowed.returncode == 0, allowed.stderr
    assert template([setting]).returncode == 0


def test_the_notes_warn_of_the_default_key(helm: str, tmp_path: Path) -> None:
    # helm shows notes only when it installs: here they are the text of an object.
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    notes = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "_notes.tpl").write_text(f'{{{{- define "notes" }}}}{notes}{{{{ end }}}}')
    shown = '{"kind": "Notes", "text": {{ include "notes" . | quote }}}'
    (chart / "templates" / "notes.yaml").write_text(shown)

    def notes_of(values: dict[str, Any]) -> str:
        words = ("template", "scim", str(chart), "--show-only", "templates/notes.yaml")
        done = run(helm, *words, "--kube-version", KUBERNETES, values=values)
        return str(yaml.safe_load(done.stdout)["text"])

    assert "API_KEY is not set" in notes_of({})
    assert "API_KEY is not set" not in notes_of(SETUPS["embedded"])
    assert "API_KEY is not set" not in notes_of({"settings": {"API_KEY_ENABLED": False}})


def test_files_that_settings_name_are_mounted_in_every_pod_of_the_server(helm: str) -> None:
    extra = {
        "extraVolumes": [{"name": "ca", "configMap": {"name": "company-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/scim/ca", "readOnly": True}],
        "worker": {"enabled": True, "nodeSelector": {"disk": "fast"}},
    }
    deployments = of_kind(rendered(helm, {**SETUPS["celery"], **extra}), "Deployment")

    assert len(deployments) == 3
    for one in deployments:
        pod = one["spec"]["template"]["spec"]
        assert extra["extraVolumes"][0] in pod["volumes"]
        assert extra["extraVolumeMounts"][0] in pod["containers"][0]["volumeMounts"]
        is_web = one["metadata"]["labels"]["app.kubernetes.io/component"] == "web"
        assert pod.get("nodeSelector") == (None if is_web else {"disk": "fast"})


def test_a_setting_may_name_a_file_that_others_mount(helm: str) -> None:
    settings = {"DATABASE_URL_FILE": "/vault/secrets/database_url", "HOST": "::"}

    (found,) = of_kind(rendered(helm, {"backend": "sql", "settings": settings}), "ConfigMap")

    assert found["data"]["DATABASE_URL_FILE"] == settings["DATABASE_URL_FILE"]
    assert found["data"]["HOST"] == "::"
