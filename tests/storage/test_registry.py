"""The installed backends: ours, and one that another distribution brings."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.configuration.settings import Settings, SettingsError
from storage.adapter import CONTRACT_VERSION
from storage.registry import options_of, own_backends
from tests.conftest import Server
from tests.distributions import ROOT, write_metadata

SETUP = """
[metadata]
name = acme-store
version = 1.0
[options.entry_points]
scim.storage =
    Acme = acme_store
    SQL = acme_store
    broken = acme_lost
"""
# What a distribution needs to bring a backend; its driver is the adapter of these tests.
OPTIONS = '''
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret, setting


@dataclass(frozen=True)
class Options(StorageOptions):
    """Acme"""

    contract_version: ClassVar[int] = 1
    address: ClassVar[str] = "acme_url"

    acme_url: str = setting("", types.base_url, "The address of Acme.")
    acme_token: str = secret("", types.text, "The token that the server sends to Acme.")
    acme_shards: int = setting(3, types.positive, "The number of shards.")
    acme_verbose: bool = setting(False, types.flag, "`true`: Acme says more.", also=("ACME_DEBUG",))

    def problems(self) -> Sequence[str]:
        return [] if self.acme_token else ["ACME_TOKEN: is required with ACME_URL"]
'''
OPENING = """
import acme_driver
from acme_store.options import Options


def open_adapter(options: Options) -> acme_driver.MemoryAdapter:
    assert (options.acme_shards, options.acme_verbose) == (5, True), options
    if options.acme_token != "hush":
        raise ValueError("ACME_TOKEN must be hush")
    return acme_driver.MemoryAdapter()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which another distribution is installed, without its driver."""
    site = tmp_path_factory.mktemp("site")
    write_metadata(SETUP, site)
    (site / "acme_store").mkdir()
    for name, text in {"__init__": "", "options": OPTIONS, "opening": OPENING}.items():
        (site / "acme_store" / f"{name}.py").write_text(text)
    return site


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A folder with the driver of the other distribution."""
    folder = tmp_path / "driver"
    folder.mkdir()
    text = "from tests.storage.memory import MemoryAdapter as MemoryAdapter\n"
    (folder / "acme_driver.py").write_text(text)
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(site)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_store"]:
        del sys.modules[name]


CHOSEN = {"STORAGE": "acme", "ACME_URL": "https://u:hush@acme.example", "ACME_TOKEN": "hush"}


def problems_of(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return caught.value.problems


def test_our_backends_are_those_of_the_entry_points() -> None:
    lines = re.search(r"^scim\.storage =\n((?: .*\n)+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE)

    assert lines and set(own_backends()) == set(re.findall(r"^ +(\w+) =", lines[1], re.MULTILINE))


def test_the_order_of_our_backends_has_no_ties() -> None:
    turns = [options.precedence for options in own_backends().values()]

    assert turns == sorted(set(turns)) and turns[0] > 0


def test_settings_are_read_without_any_driver() -> None:
    program = (
        "import sys\nfrom storage.registry import own_backends\nown_backends()\n"
        "print(sorted({'peewee', 'ldap', 'pymongo', 'irods', 'psycopg', 'requests'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"STORAGE": "files", "DATA_PATH": "/d", "LDAP_HOSTNAME": "h"}, "files"),
        ({"STORAGE": " Forward", "FORWARD_SCIM_URL": "http://h", "DATABASE_URL": "sqlite:///x"}, "forward"),
        ({"STORAGE": "sql", "DATA_PATH": "/d"}, "sql"),
        ({"STORAGE": "", "DATA_PATH": "/d"}, "files"),
    ],
    ids=("first", "any case", "without address", "empty"),
)
def test_storage_chooses_whatever_else_is_set(environ: dict[str, str], chosen: str) -> None:
    assert Settings.from_env(environ).backend[0] == chosen


def test_sql_without_a_url_is_the_embedded_store() -> None:
    assert Settings.from_env({"STORAGE": "sql"}).backend == Settings.from_env({}).backend


def test_an_unknown_backend_is_refused_with_the_names_there_are() -> None:
    names = ", ".join(sorted(own_backends()))

    assert problems_of(STORAGE="oracle") == [f"STORAGE: must be one of {names}"]
    assert len(problems_of(STORAGE="oracle", PAGE_SIZE="0", LDAP_POOL_SIZE="x")) == 3


def test_a_server_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    assert problems_of() == ["no storage backend is installed: install this version of the server with pip"]


def test_a_chosen_backend_needs_its_address() -> None:
    assert problems_of(STORAGE="ldap", DATA_PATH="/d") == ["LDAP_HOSTNAME: is required with STORAGE=ldap"]
    assert [line.split(":")[0] for line in problems_of(STORAGE="mongo", MONGO_DB="host")] == ["MONGO_DB"]


@pytest.mark.usefixtures("installed")
def test_another_distribution_brings_a_backend_but_never_one_of_our_names(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    more = {"ACME_SHARDS": "5", "ACME_DEBUG": "yes", "ACME_TOKEN_FILE": str(tmp_path / "token")}

    name, options = Settings.from_env({**CHOSEN, **more, "ACME_TOKEN": ""}).backend

    assert (name, options.acme_shards, options.acme_verbose, options.acme_token) == ("acme", 5, True, "hush")
    assert "acme" not in own_backends() and own_backends()["sql"].address == "database_url"
    assert Settings.from_env({**CHOSEN, "STORAGE": "SQL"}).backend == Settings.from_env({}).backend
    assert Settings.from_env({"ACME_URL": "https://acme.example", "ACME_SHARDS": "0"}).backend[0] == "sql"


@pytest.mark.usefixtures("installed")
def test_all_problems_of_a_foreign_backend_are_named_beside_ours() -> None:
    problems = problems_of(STORAGE="acme", ACME_URL="x", ACME_SHARDS="0", ACME_VERBOSE="hm", PAGE_SIZE="0")

    named = [problem.split(":")[0] for problem in problems]
    assert sorted(named) == ["ACME_SHARDS", "ACME_TOKEN", "ACME_URL", "ACME_VERBOSE", "PAGE_SIZE"]
    assert problems_of(STORAGE="acme", ACME_TOKEN="hush") == ["ACME_URL: is required with STORAGE=acme"]


@pytest.mark.usefixtures("installed")
def test_a_package_that_cannot_be_imported_is_named() -> None:
    (problem,) = problems_of(STORAGE="broken")

    assert problem == "STORAGE: the backend broken cannot be used: No module named 'acme_lost'"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("version", [None, CONTRACT_VERSION - 1, CONTRACT_VERSION + 1])
def test_a_backend_of_another_version_of_the_contract_is_refused(
    version: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options_of("acme"), "contract_version", version)

    (problem,) = problems_of(**CHOSEN)

    assert problem == (
        f"STORAGE: the backend Acme cannot be used: it is written for version {version} of the contract, and"
        f" this server has version {CONTRACT_VERSION}"
    )


@pytest.mark.usefixtures("installed")
def test_a_variable_that_is_nearly_one_of_a_foreign_backend_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Settings.from_env({**CHOSEN, "ACME_SHARD": "4"})

    assert [record.getMessage() for record in caplog.records] == [
        "ACME_SHARD is not a setting and has no effect; did you mean ACME_SHARDS?"
    ]


def environ_of(folder: Path, *paths: Path, **more: str) -> dict[str, str]:
    state = f"sqlite:///{folder}/state.db"
    python_path = ":".join(map(str, (*paths, ROOT)))
    given = {"PYTHONPATH": python_path, "STATE_DATABASE_URL": state, "WORKERS": "1", "ACME_SHARDS": "5"}
    return {**CHOSEN, **given, "ACME_DEBUG": "1", **more}


def test_a_server_stores_in_a_foreign_backend_and_hides_its_secrets(
    site: Path, driver: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(**environ_of(tmp_path, site, driver, LOGLEVEL="DEBUG"))
    try:
        user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "babs"}
        location = server("POST", "/Users", json=user).headers["Location"]

        assert server("GET", location).json()["userName"] == "babs"
    finally:
        server.stop()

    log = capfd.readouterr().err
    assert "resources are stored in acme: https://acme.example" in log
    assert '"acme_url": "https://***@acme.example"' in log and '"acme_shards": "5"' in log
    assert "acme_token" not in log and "hush" not in log


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "scim: the storage cannot be used: the module acme_driver is not installed\n"),
        (
            {"ACME_SHARDS": "0", "ACME_URL": "acme", "PORT": "x"},
            "scim: PORT: must be a port number\n"
            "scim: ACME_URL: must be a URL such as https://scim.example.com\n"
            "scim: ACME_SHARDS: must be a whole number, 1 or more\n",
        ),
    ],
)
def test_a_server_with_a_foreign_backend_that_cannot_start_says_why(
    site: Path, tmp_path: Path, more: dict[str, str], said: str
) -> None:
    scim = Path(sys.executable).parent / "scim"
    environ = environ_of(tmp_path, site, **more)

    ended = subprocess.run([scim, "serve"], env=environ, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.endswith(said) and "hush" not in ended.stderr
