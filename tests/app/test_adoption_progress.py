"""What `scim serve` answers while it takes over many documents, and that it goes on where it was stopped."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from storage.index.building import Step
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.conftest import Server, error_of
from tests.servers import MariadbServer, PostgresqlServer

USERS = 1200


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> PostgresqlServer | MariadbServer:
    found: PostgresqlServer | MariadbServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def interrupted(database: PostgresqlServer | MariadbServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database of the earlier product, of whose users 1,000 have been taken over."""
    url = database.new_database()
    table = f"{database.quote}Users{database.quote}"
    documents = ", ".join(f"('u{n:04}', '{json.dumps({'userName': f'user{n}'})}')" for n in range(USERS))
    database.execute(
        url,
        f"CREATE TABLE {table} (id VARCHAR(255) NOT NULL, details JSON, PRIMARY KEY (id))",
        f"INSERT INTO {table} (id, details) VALUES {documents}",
    )
    batches, batch = iter(range(3)), Step._once

    def stopping(step: Step) -> int | None:
        if next(batches) == 2:
            raise KeyboardInterrupt
        return batch(step)

    adapter = open_backend("sql", database_url=url)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Step, "_once", stopping)
        adapter.prepare(REGISTRY.resource_types)
    adapter.close()
    return url


class StartingServer(Server):
    """`scim serve`, which is not waited for."""

    def start(self) -> None:
        self.process = subprocess.Popen(self.command(), env=self.environ, start_new_session=True)


@contextmanager
def held(database: PostgresqlServer | MariadbServer, url: str) -> Iterator[None]:
    """Hold what another process holds that takes documents over."""
    connection = database._connect(url.rpartition("/")[2])
    with connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT number FROM scim_type FOR UPDATE")
        yield
        cursor.execute("ROLLBACK")


def answered(server: Server, path: str, is_wanted: Callable[[requests.Response], bool]) -> requests.Response:
    """Return the first answer that is wanted."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = server("GET", path)
        except requests.ConnectionError:
            assert server.process.poll() is None
        else:
            if is_wanted(answer):
                return answer
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)


@pytest.mark.parametrize("base_path", ["", "/scim"])
def test_a_probe_sees_how_far_it_is(
    database: PostgresqlServer | MariadbServer, interrupted: str, base_path: str
) -> None:
    variables = {"DATABASE_URL": interrupted, "WORKERS": "2", "LOGLEVEL": "WARNING", "BASE_PATH": base_path}
    with held(database, interrupted):
        server = StartingServer(**variables)
        try:
            alive = answered(server, f"{base_path}/health", lambda answer: True)
            far = "the server is starting: adopting Users: 1000 of 1200"
            assert (alive.status_code, alive.json()) == (200, {"status": "starting", "detail": far})
            for method, path in (("GET", "/health/ready"), ("POST", "/Users"), ("DELETE", "/Users/u0001")):
                answer = server(method, base_path + path, json={"userName": "u"})
                assert error_of(answer, 503) == far
                assert int(answer.headers["Retry-After"]) > 0
        except BaseException:
            server.kill()
            raise
    try:
        answered(server, f"{base_path}/health/ready", lambda answer: answer.status_code == 200)
        assert server("GET", f"{base_path}/health").json() == {"status": "OK"}
        assert server("GET", f"{base_path}/Users?count=0").json()["totalResults"] == USERS
    finally:
        server.kill()
