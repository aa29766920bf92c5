"""deploy/prometheus, deploy/grafana: a real Prometheus answers every query of the rules and the dashboard."""

import importlib.util
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import KEY, Server
from tests.events import BULK
from tests.ports import free_port
from tests.receivers import HttpReceiver

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
RULES = DEPLOY / "prometheus" / "scim.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "scim.json"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
# A database server has a pool, and SQLite has none.
POOLS = "Connections in use A"
_PATIENCE_S = 120
EVERYTHING = {
    "SET_POLL_ENABLED": "true",
    "ASYNC_REQUEST": "request",
    "INDEXED_ATTRIBUTES": "userName",
    "SLOW_FILTER_MS": "0",
    "CHANGE_LOG": "on",
}
LATER = {"Prefer": "respond-async"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def without_threshold(expression: str) -> str:
    """Return what an alert compares with its threshold: that has samples while all is well."""
    return re.sub(r" *(>|==) *[0-9.*e ]+$", "", expression.strip())


def queries() -> dict[str, str]:
    """Return each query of the rules and of the dashboard by the name of its alert or panel."""
    found = {rule["alert"]: without_threshold(rule["expr"]) for rule in rules()}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$job", "scim").replace("$__rate_interval", "5m")
            found[f"{panel['title']} {target['refId']}"] = query
    return found


class Prometheus:
    """A Prometheus that asks one server every second."""

    def __init__(self, folder: Path, target: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        (scrape,) = config["scrape_configs"]
        scrape |= {"scheme": "http", "scrape_interval": "1s", "scrape_timeout": "1s"}
        scrape["authorization"] = {"credentials": KEY}
        scrape["static_configs"] = [{"targets": [target]}]
        config["rule_files"] = [str(RULES)]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"),
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the samples of a query, none while Prometheus does not answer."""
        assert self.process.poll() is None
        try:
            answer = requests.get(f"{self.url}/api/v1/query", {"query": query}, timeout=30)
        except requests.ConnectionError:
            return []
        if answer.status_code == 503:
            return []
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return [sample for sample in result if sample["value"][1] != "NaN"]

    def wait_for(self, query: str) -> None:
        """Return once a query has samples."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.ask(query):
            assert time.monotonic() < deadline, f"no samples: {query}"
            time.sleep(0.2)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Return a function that starts a Prometheus for a server, and end it afterwards."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    started: list[Prometheus] = []

    def start(target: str) -> Prometheus:
        started.append(Prometheus(tmp_path, target))
        return started[-1]

    yield start
    for one in started:
        one.process.terminate()
        one.process.wait(30)


def traffic(server: Server, database: Path) -> None:
    """Send what each metric counts: searches of each plan, refusals, errors, deviations, jobs, events."""
    for number in range(2):
        user = {"schemas": [USER], "userName": f"u{number}{time.monotonic_ns()}"}
        created = server("POST", "/Users", json={**user, "title": "t", "active": "True"})
        assert created.status_code == 201, created.text
    path = f"/Users/{created.json()['id']}"
    operations = [{"op": "Replace", "path": path, "value": "1"} for path in ("title", "employeeId")]
    message = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
    assert server("PATCH", path, json=message).status_code in (200, 204)
    for query in ('userName sw "u"', "title pr", 'userName sw "u" and title pr'):
        assert server("GET", "/Users", params={"filter": query}).status_code == 200
    assert "nextCursor" in server("GET", "/Users", params={"cursor": "", "count": 1}).json()
    assert server("GET", path, headers={"Authorization": "Bearer no"}).status_code == 401
    assert server("GET", "/Users/none").status_code == 404
    bulk = {"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/none"}]}
    assert server("POST", "/Bulk", json=bulk, headers=LATER).status_code == 202
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute('ALTER TABLE "Users" RENAME TO "Away"')
        try:
            assert server("GET", path).status_code >= 500
        finally:
            connection.execute('ALTER TABLE "Away" RENAME TO "Users"')


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    started = HttpReceiver()
    yield started
    started.stop()


@pytest.mark.sqlite
def test_every_query_has_samples(
    serve: Callable[..., Server],
    prometheus: Callable[[str], Prometheus],
    receiver: HttpReceiver,
    tmp_path: Path,
) -> None:
    database = tmp_path / "scim.db"
    taken = {"SET_PUSH_URL": receiver.url, "AUDIT_EXPORT_URL": receiver.url}
    server = serve(**EVERYTHING, **taken, DATABASE_URL=f"sqlite:///{database}")
    watching = prometheus(server.url.removeprefix("http://"))
    # What grows is known from two samples: a series that begins has none yet.
    traffic(server, database)
    watching.wait_for('count_over_time(scim_requests_total{status="202"}[5m]) > 1')
    traffic(server, database)
    watching.wait_for('increase(scim_requests_total{status="202"}[5m]) > 0')

    for name, query in queries().items():
        if name == POOLS:
            continue
        try:
            watching.wait_for(query)
        except AssertionError as exc:
            exc.add_note(name)
            raise


@pytest.mark.on("postgresql")
def test_the_use_of_a_pool_has_samples(
    serve: Callable[..., Server], prometheus: Callable[[str], Prometheus]
) -> None:
    server = serve()

    assert server("GET", "/Users").status_code == 200

    prometheus(server.url.removeprefix("http://")).wait_for(queries()[POOLS])


def test_an_alert_is_compared_without_its_threshold() -> None:
    assert without_threshold("max by (job) (up) == 0") == "max by (job) (up)"
    assert without_threshold("a > 0.8 * 2592000") == "a"
    assert without_threshold("a / b > 0.01") == "a / b"


def test_the_dashboard_is_what_the_code_makes() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", DASHBOARD.with_name("dashboard.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.text() == DASHBOARD.read_text(), "run: python deploy/grafana/dashboard.py"


def test_every_panel_has_a_place_and_a_query() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]

    for panel in panels:
        assert panel["type"] == "row" or panel["targets"], panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


@pytest.mark.parametrize("label", ["receiver", "feed", "principal"])
def test_texts_name_labels_that_the_rule_has(label: str) -> None:
    named = [rule for rule in rules() if f"$labels.{label}" in rule["annotations"]["summary"]]

    assert named
    assert all(f"by ({label})" in rule["expr"] for rule in named)


def test_promtool_accepts_the_files(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    folder = shutil.copytree(RULES.parent, tmp_path / "prometheus")
    config = folder / "prometheus.yml"
    config.write_text(config.read_text().replace("/etc/prometheus", str(folder)))
    (folder / "scim_metrics_token").write_text("token")

    commands = re.findall(r"^    (promtool .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 3

    for command in commands:
        done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((RULES.parent / "scim.rules.test.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]

    names = {rule["alert"] for rule in rules()}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == names


def test_the_page_has_every_alert() -> None:
    assert re.findall(r"^\| `(Scim\w+)`", PAGE, re.MULTILINE) == [rule["alert"] for rule in rules()]
