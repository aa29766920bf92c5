"""What is PostgreSQL's alone."""

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.errors import StorageUnavailable, UniquenessConflict
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.servers import PostgresqlServer
from tests.storage.sql.conftest import Open


def test_the_column_of_documents_may_be_changed_to_jsonb(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    app = create_app(Settings.from_env({"API_KEY": KEY, "DATABASE_URL": url, "LOGLEVEL": "ERROR"}))
    scim = ScimClient(app.test_client())
    path = scim.user("ann", title="x")["meta"]["location"]

    postgresql.execute(
        url,
        'ALTER TABLE "Users" DROP CONSTRAINT "Users_details_check"',
        'ALTER TABLE "Users" ALTER COLUMN details TYPE jsonb USING details::jsonb',
    )

    scim.user("bob", emails=[{"value": "bob@x"}])
    assert scim("PUT", path, {"userName": "ann", "title": "y"}).json["title"] == "y"
    version = scim("GET", path).headers["ETag"]
    # Keys come back in another order, which is no change.
    assert scim("PUT", path, {"title": "y", "userName": "ann"}).headers["ETag"] == version
    assert scim.names('emails.value eq "bob@x"') == ["bob"]
    assert postgresql.execute(url, """SELECT id FROM "Users" WHERE details @> '{"title": "y"}'""")
    app.extensions["scim.storage"].close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_keep_every_text_is_refused(
    postgresql: PostgresqlServer, encoding: str
) -> None:
    name = encoding.lower()
    postgresql.execute("postgres", f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    url = f"postgresql://scim@127.0.0.1:{postgresql.port}/{name}"
    adapter = open_backend("sql", database_url=url)

    with pytest.raises(StorageUnavailable, match=f"has the encoding {encoding}, not UTF8"):
        adapter.prepare(REGISTRY.resource_types)


def test_a_resource_whose_value_is_taken_is_not_written_first(
    postgresql: PostgresqlServer, opened: Open
) -> None:
    adapter = opened(postgresql.new_database())
    # Rows that are undone count too.
    written = "SELECT SUM(n_tup_ins) FROM pg_stat_xact_user_tables WHERE relname = 'scim_attribute'"
    with adapter.transaction():
        before = adapter.state_database.row(written)
        adapter.create(USER, stored("1", userName="ann"))
        assert adapter.state_database.row(written) > before

    with pytest.raises(UniquenessConflict, match="userName"), adapter.transaction():
        before = adapter.state_database.row(written)
        try:
            adapter.create(USER, stored("2", userName="ann", title="x"))
        finally:
            assert adapter.state_database.row(written) == before
    assert [one.id for one in adapter.scan(USER)] == ["1"]
