"""DATABASE_URL in the forms people have."""

import ssl
from typing import Any

import pytest

from storage.database_url import parse_database_url


@pytest.mark.parametrize(
    ("text", "dialect", "name", "options"),
    [
        (
            "postgresql://scim:p%40ss@db.example.org:5433/identities?sslmode=verify-full&connect_timeout=3",
            "postgresql",
            "identities",
            {
                "host": "db.example.org",
                "port": 5433,
                "user": "scim",
                "password": "p@ss",
                "sslmode": "verify-full",
                "connect_timeout": 3,
            },
        ),
        ("postgres://db/x", "postgresql", "x", {"host": "db"}),
        ("postgresql+psycopg2://u@db/x", "postgresql", "x", {"host": "db", "user": "u"}),
        ("postgresql:///x?host=/run/postgresql", "postgresql", "x", {"host": "/run/postgresql"}),
        ("postgresql://[::1]:5432/x", "postgresql", "x", {"host": "::1", "port": 5432}),
        (
            "postgresql://u:p@one:5433,two/x?target_session_attrs=read-write&prepare_threshold=0",
            "postgresql",
            "x",
            {
                "host": "one,two",
                "port": "5433,",
                "user": "u",
                "password": "p",
                "target_session_attrs": "read-write",
                "prepare_threshold": 0,
            },
        ),
        (
            "postgresql:///x?host=[::1],b&port=1,2&prepare_threshold=none&client_encoding=LATIN1",
            "postgresql",
            "x",
            {"host": "[::1],b", "port": "1,2", "prepare_threshold": None},
        ),
        ("postgresql://db/y?dbname=x", "postgresql", "x", {"host": "db"}),
        ("mysql://u:p@db/x", "mysql", "x", {"host": "db", "user": "u", "password": "p"}),
        ("mysql+pymysql://db:3307/x?charset=utf8mb4", "mysql", "x", {"host": "db", "port": 3307}),
        (f"mariadb://db/x?ssl_ca={__file__}", "mysql", "x", {"host": "db", "ssl_ca": __file__}),
        (
            "mysql://db/x?ssl_mode=VERIFY_IDENTITY",
            "mysql",
            "x",
            {"host": "db", "ssl_verify_cert": True, "ssl_verify_identity": True},
        ),
        ("MySQL://db/x?unix_socket=/s", "mysql", "x", {"host": "db", "unix_socket": "/s"}),
        ("sqlite:///relative/a.db", "sqlite", "relative/a.db", {}),
        (" sqlite:///a.db\n", "sqlite", "a.db", {}),
        ("sqlite:////var/lib/a.db", "sqlite", "/var/lib/a.db", {}),
        ("sqlite:///a%20b.db?check_same_thread=False", "sqlite", "a b.db", {}),
    ],
)
def test_urls(text: str, dialect: str, name: str, options: dict[str, Any]) -> None:
    url = parse_database_url(text)

    assert (url.dialect, url.name, url.options) == (dialect, name, options)


def test_tls_can_be_demanded_of_mysql() -> None:
    context = parse_database_url("mysql://db/x?ssl_mode=REQUIRED").options["ssl"]

    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("oracle://hush@db/x", "must begin with"),
        ("hush", "must begin with"),
        ("postgresql://u:hush@db", "must name a database"),
        ("mysql://u:hush@db/", "must name a database"),
        ("postgresql://u:hu/sh@db/x", "characters such as"),
        ("postgresql://u:hush@db:port/x", "characters such as"),
        ("mysql://u:hush@db/x?nope=1", "unknown option nope"),
        ("postgresql://u:hush@db:65536/x", "the port is a number"),
        ("postgresql://u:hush@one:5432,two:port/x", "the port is a number"),
        ("postgresql://u:hush@db/x?connect_timeout=soon", "has connect_timeout=soon; connect_timeout must"),
        ("postgresql://u:hush@db/x?keepalives=9999999999", "keepalives must be a whole number"),
        ("postgresql://u:hush@db/x?prepare_threshold=-1", "prepare_threshold must be a whole number"),
        ("postgresql://u:hush@db/x?port=http", "has port=http; it must be a port number"),
        ("postgresql://u:hush@db/x?target_session_attrs=rw", "attrs=rw; it must be one of any"),
        ("postgresql://u:hush@db/x?autocommit=true", "begins and ends its transactions itself"),
        ("postgresql://u:hush@db/x?max_connections=3", "unknown option max_connections"),
        ("mysql://u:hush@one,two/x", "only PostgreSQL takes more than one"),
        ("mysql://u:hush@db/x?compress", "name=value"),
        ("mysql://u:hush@db/x?connect_timeout=soon", "has connect_timeout=soon; connect_timeout must be"),
        ("mysql://u:hush@db/x?read_timeout=0", "has read_timeout=0; read_timeout must be seconds"),
        ("mysql://u:hush@db/x?ssl_ca=/nowhere.pem", "has ssl_ca=/nowhere.pem, which is not a file"),
        ("mysql://u:hush@db/x?ssl_mode=maybe", "unknown ssl_mode"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_database_url(text)

    assert problem in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(caught.value)


def test_a_database_is_shown_without_its_password() -> None:
    url = parse_database_url("postgresql://u:hush@db/x")

    assert str(url) == "postgresql://db:5432/x"
    assert "hush" not in repr(url)


def test_several_hosts_are_shown_with_their_ports() -> None:
    url = parse_database_url("postgresql://u:hush@one:5433,two/x")

    assert str(url) == "postgresql://one:5433,two:5432/x"
