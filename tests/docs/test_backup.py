"""docs/how-to/backup.md: its own commands, run on real stores while requests come in."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.events import kinds
from tests.receivers import ACCEPTS, HttpReceiver, answers
from tests.servers import MariadbServer, PostgresqlServer, program

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "backup.md"
CREATED = "prov:create:notice"


def commands(section: str, beginning: str) -> list[str]:
    """Return the commands behind the paragraph that begins so, in a section of the page."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.search(rf"^{beginning}(?:.+\n)+\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found is not None, f"{section}: {beginning}"
    return re.sub(r"\\\n *", "", re.sub("^    ", "", found[1], flags=re.MULTILINE)).splitlines()


class Site:
    """A server, its receiver, which does not answer at first, and the commands of the page.

    `environ` is what the server has, `restored` what changes after a restore, and `words` are parts of
    commands that are other ones here.
    """

    def __init__(self, folder: Path, receiver: HttpReceiver) -> None:
        self.folder = folder
        self.receiver = receiver
        receiver.behaviour = answers(503)
        self.environ = {"SET_PUSH_URL": receiver.url, "LOGLEVEL": "ERROR"}
        self.restored: dict[str, str] = {}
        self.shell = {"PATH": f"{os.environ['PATH']}:/usr/sbin", "HOME": str(folder)}
        self.words = {
            "/var/lib/scim": str(folder / "lib"),
            "/var/backups/scim": str(folder / "backups"),
            "-o scim -g scim ": "",
        }
        self.units: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "scim-web": (lambda: self.server.stop(), self._start_restored)
        }
        (folder / "lib" / "data").mkdir(parents=True)

    def start(self) -> None:
        self.server = Server(**self.environ)

    def _start_restored(self) -> None:
        self.environ |= self.restored
        self.start()

    def run(self, section: str, beginning: str) -> None:
        """Run commands of the page; `systemctl` does what it would do."""
        script: list[str] = []
        for line in commands(section, beginning):
            found = re.fullmatch(r"systemctl (stop|start) (\S+)", line)
            if found is None:
                script.append(line)
                continue
            self._shell(script)
            script = []
            self.units[found[2]][found[1] == "start"]()
        self._shell(script)

    def _shell(self, script: list[str]) -> None:
        text = "\n".join(["set -e", *script])
        if os.geteuid():
            # What the servers of the tests own is ours then.
            text = re.sub("^chown .*$", "", text, flags=re.MULTILINE)
        for word, here in self.words.items():
            text = text.replace(word, here)
        subprocess.run(["bash", "-c", text], check=True, env=self.shell, capture_output=True, text=True)

    def create(self, name: str) -> None:
        answer = self.server("POST", "/Users", json={"userName": name})
        assert answer.status_code == 201, answer.text

    def users(self) -> dict[str, str]:
        """Return the id of every user by its name."""
        found: dict[str, str] = {}
        query = "cursor&count=100&attributes=userName"
        while True:
            page = self.server("GET", f"/Users?{query}").json()
            found |= {user["userName"]: user["id"] for user in page["Resources"]}
            if "nextCursor" not in page:
                return found
            query = f"cursor={page['nextCursor']}&count=100&attributes=userName"

    def deliver(self) -> set[str]:
        """Let the receiver answer, run the command of the page, and return the ids that SETs created."""
        self.receiver.attempts.clear()
        self.receiver.behaviour = ACCEPTS
        (command,) = commands("After a restore to an earlier moment", "`scim events list`")
        scim = self.server.environ | {"PATH": f"{Path(self.server.command()[0]).parent}:{os.environ['PATH']}"}
        subprocess.run(command.split(), env=scim, check=True, capture_output=True)
        assert self.receiver.wait_for(lambda: "pending 0," in self._events(scim))
        return {uri.rpartition("/")[2] for kind, uri in kinds(self.receiver.claims) if kind == CREATED}

    def _events(self, environ: dict[str, str]) -> str:
        command = ["scim", "events", "list"]
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    receiver = HttpReceiver()
    made = Site(tmp_path, receiver)
    yield made
    made.server.kill()
    receiver.stop()


def back_up_while_writing(site: Site, section: str) -> tuple[set[str], set[str]]:
    """Back up beside a writer; return the users from before, and all that were answered by its end."""
    before = {f"before{number}" for number in range(10)}
    for name in before:
        site.create(name)
    meanwhile: set[str] = set()
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            name = f"meanwhile{len(meanwhile)}"
            meanwhile.add(name)
            site.create(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        site.run(section, "Back up")
    finally:
        is_over.set()
        writer.join()
    return before, before | meanwhile


def assert_is_restored(site: Site, section: str) -> tuple[set[str], set[str]]:
    """Back up, write more, restore; return the ids that are there, and those that SETs tell of."""
    site.start()
    before, written = back_up_while_writing(site, section)
    site.create("late")

    site.run(section, "Restore")
    users = site.users()

    assert before <= users.keys() <= written
    site.create("next")
    created = site.deliver()
    return set(site.users().values()), created


def test_sqlite_is_restored_to_the_moment_of_the_backup(site: Site) -> None:
    program("sqlite3")
    site.environ["DATABASE_URL"] = f"sqlite:///{site.folder}/lib/data/scim.db"

    there, created = assert_is_restored(site, "SQLite")

    assert created == there


@pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="slow; `make test-full` runs it")
def test_python_saves_sqlite_where_there_is_no_other_program(site: Site) -> None:
    site.environ["DATABASE_URL"] = f"sqlite:///{site.folder}/lib/data/scim.db"
    site.words |= {"python -c": f"{sys.executable} -c"}
    site.start()
    site.create("anna")

    site.run("SQLite", "The container has no")

    site.server.stop()
    site.environ["DATABASE_URL"] = f"sqlite:///{site.folder}/lib/backup.db"
    site.start()
    assert site.users().keys() == {"anna"}


def test_a_copy_of_an_sqlite_file_lacks_what_is_in_its_log(site: Site) -> None:
    data = site.folder / "lib" / "data"
    site.environ["DATABASE_URL"] = f"sqlite:///{data}/scim.db"
    site.start()
    site.create("anna")

    shutil.copy(data / "scim.db", data / "copy.db")

    site.server.stop()
    site.environ["DATABASE_URL"] = f"sqlite:///{data}/copy.db"
    site.start()
    assert site.users() == {}


def test_postgresql_is_restored_to_the_moment_of_the_backup(site: Site, postgresql: PostgresqlServer) -> None:
    postgresql.execute("postgres", "CREATE DATABASE scim TEMPLATE template0")
    site.shell |= {"PGHOST": "127.0.0.1", "PGPORT": str(postgresql.port), "PGUSER": "scim"}
    url = f"postgresql://scim@127.0.0.1:{postgresql.port}/scim"
    site.environ["DATABASE_URL"] = url
    site.restored["DATABASE_URL"] = f"{url}_restored"

    there, created = assert_is_restored(site, "PostgreSQL")

    assert created == there


def test_mariadb_is_restored_to_the_moment_of_the_backup(site: Site, mariadb: MariadbServer) -> None:
    mariadb.execute("mysql", "CREATE DATABASE scim")
    (site.folder / ".my.cnf").write_text(f"[client]\nhost=127.0.0.1\nport={mariadb.port}\nuser=root\n")
    url = f"mysql://root@127.0.0.1:{mariadb.port}/scim"
    site.environ["DATABASE_URL"] = url
    site.restored["DATABASE_URL"] = f"{url}_restored"

    there, created = assert_is_restored(site, "MariaDB and MySQL")

    assert created == there


def test_files_are_restored_with_an_event_for_every_user(site: Site) -> None:
    program("rsync")
    program("sqlite3")
    site.environ["DATA_PATH"] = str(site.folder / "lib" / "files")

    there, created = assert_is_restored(site, "Flat files")

    assert there <= created


@pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="slow; `make test-full` runs it")
def test_a_directory_is_restored_to_the_moment_of_the_backup(site: Site) -> None:
    openldap = pytest.importorskip("tests.openldap")
    program("slapcat", "/usr/sbin/slapcat")
    slapd = openldap.LdapServer()
    slapd.new_database()
    configuration = f"-f {slapd.folder}/slapd.conf"
    site.words |= {name: f"{name} {configuration}" for name in ("slapcat", "slapadd")}
    site.words["/var/lib/ldap"] = f"{slapd.folder}/db"
    site.units["slapd"] = (slapd.stop, slapd.restart)
    site.environ |= slapd.environ(openldap.SUFFIX)
    site.environ["STATE_DATABASE_URL"] = f"sqlite:///{site.folder}/lib/data/state.db"
    try:
        site.start()
        before, written = back_up_while_writing(site, "LDAP")
        site.create("late")

        site.run("LDAP", "Restore")

        assert before <= site.users().keys() <= written
    finally:
        slapd.remove()
