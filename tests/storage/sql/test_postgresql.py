"""What is PostgreSQL's alone."""

from app import create_app
from app.settings import Settings
from tests.conftest import KEY, ScimClient
from tests.servers import PostgresqlServer


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
