"""Users and filters on which every adapter must agree with evaluation."""

from typing import Any

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"

USERS: list[dict[str, Any]] = [
    {
        "userName": "bjensen",
        "active": True,
        "title": "b",
        "name": {"familyName": "O'Malley", "givenName": "Barbara"},
        "emails": [{"value": "b@work.example", "type": "work"}, {"value": "B@home.example", "type": "home"}],
    },
    {"userName": "Alice", "active": False, "title": "A", "emails": [{"value": "a@work.example"}]},
    {"userName": "carol", "title": "", "nickName": "100%", "emails": [{"type": "home", "primary": True}]},
    {"userName": "dave", "nickName": "1000", "externalId": "X1", "title": "b"},
    {"userName": "eve_n", "nickName": "n_n", "externalId": "x1", SRAM: {"sramInactiveDays": 9}},
    {"userName": "frank", "nickName": "nan", SRAM: {"sramInactiveDays": -10, "eduPersonUniqueId": "F@x"}},
    {
        "userName": "\u00e9mile",
        "displayName": "STRASSE",
        "emails": [
            {"value": "1@x", "type": "work"},
            {"value": "2@x", "type": "other", "primary": True},
            {"value": "3@x", "type": "work", "display": "three"},
        ],
    },
    {
        "userName": "zo\u00eb",
        "displayName": "Stra\u00dfe",
        "active": True,
        "emails": [{"value": "2@x", "type": "home"}],
    },
    {
        "userName": "\U0001f600",
        "title": '"; drop table',
        ENTERPRISE: {"department": "Tours", "manager": {"value": "bj", "displayName": "B"}},
        "x509Certificates": [{"value": "QUJD"}],
    },
    {
        "userName": "x",
        "roles": [{"value": "a", "primary": False}, {"value": "b", "primary": True}],
        "title": "c",
    },
]


def _nested(levels: int, inner: str, *ways: str) -> str:
    """Return a filter around `inner`, each level made in the next of `ways`."""
    for level in range(levels):
        inner = ways[level % len(ways)].format(inner)
    return inner


# What no database takes as it is, and the most that is given to one.
_IN_TURNS = ('({} or title eq "b")', "({} and userName pr)", "not ({})")
_IN_BRACKETS = ('({} or type eq "home")', "({} and value pr)", "not ({})")
EXTREMES = [
    " or ".join(["title pr"] * 501),
    " or ".join(f'title eq "{n}"' for n in range(399)) + ' or title eq "b"',
    " and ".join(["userName pr"] * 500),
    f"emails[{' or '.join(['type pr'] * 501)}]",
    f"emails[{' or '.join(f'type eq {chr(34)}{n}{chr(34)}' for n in range(399))} or primary eq true]",
    f"emails[{' and '.join(['type pr'] * 400)}]",
    _nested(37, "title pr", "not ({})"),
    _nested(50, "title pr", "not ({})"),
    f"emails[{_nested(9, 'type pr', 'not ({})')}]",
    f"emails[{_nested(49, 'type pr', 'not ({})')}]",
    *(_nested(levels, "active eq true", *_IN_TURNS) for levels in (4, 5, 6, 49)),
    *(_nested(levels, 'emails[type eq "work" and value pr]', *_IN_TURNS) for levels in (3, 48)),
    *(f"emails[{_nested(levels, 'primary pr', *_IN_BRACKETS)}]" for levels in (3, 4, 5, 48)),
    " or ".join([_nested(4, "active eq true", *_IN_TURNS)] * 60),
    f"({' or '.join(['title pr'] * 300)}) and ({' or '.join(['userName pr'] * 300)})",
]

FILTERS = [
    *EXTREMES,
    "emails[primary eq false]",
    "emails[primary ne false]",
    "emails[primary ne true]",
    "emails[not (primary eq false)]",
    'emails[type eq "work" and primary eq FALSE]',
    "emails.primary eq false",
    "emails.primary ne false",
    "not (emails.primary eq false)",
    "roles[primary eq false]",
    'roles.primary eq false or emails[primary eq false and value sw "2"]',
    "active eq false",
    "active ne false",
    'userName eq "BJENSEN"',
    'userName eq "nobody"',
    'userName ne "bjensen"',
    'externalId eq "x1"',
    'externalId sw "X"',
    'userName sw "\u00c9"',
    'userName co "\U0001f600"',
    'userName ge "e" and userName lt "\u00e9"',
    'displayName eq "strasse"',
    'title eq ""',
    "title pr",
    "not (title pr)",
    "title eq null",
    'title co ""',
    'title gt "A"',
    'title le "b"',
    'not (title gt "A")',
    "title co \"'\" or title co \"\\\"\"",
    'nickName co "0%"',
    'nickName ew "%"',
    'nickName sw "n_"',
    'nickName co "_"',
    'nickName co "\\\\"',
    "active eq true",
    "active ne true",
    "active eq FALSE",
    "not (active eq true)",
    "emails pr",
    "not (emails pr)",
    "emails.display pr",
    'emails co "work"',
    'emails.value eq "B@HOME.example"',
    'emails ne "2@x"',
    'emails.type ne "work"',
    'emails[type eq "work" and value sw "b"]',
    'emails[type eq "home" and value sw "b"]',
    'emails[type eq "work" and value eq "2@x"]',
    'emails[not (type pr)]',
    'emails[type ne "work"]',
    'not (emails[type eq "work"])',
    'emails[type eq "other" or display co "THREE"]',
    'emails[(type eq "work" or type eq "home") and value ew "example" and not (value sw "b")]',
    "emails[primary eq true]",
    "emails[primary eq true and value pr]",
    'emails[value co "@" and type eq "work" and primary pr]',
    'name.familyName eq "o\'malley"',
    'name[familyName pr and givenName sw "bar"]',
    "name pr",
    f'{ENTERPRISE}:department eq "tours"',
    f'{ENTERPRISE}:manager.value eq "bj"',
    f'{ENTERPRISE}:manager[value eq "bj" and displayName pr]',
    f"{ENTERPRISE}:manager pr",
    f"{ENTERPRISE} pr",
    f"{SRAM}:sramInactiveDays gt -10",
    f"{SRAM}:sramInactiveDays ge -10 and {SRAM}:sramInactiveDays lt 9",
    f"{SRAM}:sramInactiveDays ne 9",
    f"{SRAM}.eduPersonUniqueId pr",
    'x509Certificates.value eq "QUJD"',
    'x509Certificates.value co "UJ"',
    "x509Certificates pr",
    'roles[value eq "b" and primary eq true] and title eq "c"',
    'meta.created gt "2026-01-15T00:00:00Z"',
    'meta.created le "2026-01-01T01:00:00+01:00"',
    'meta.lastModified eq "2026-02-01T00:00:00.000Z" and active pr',
    f'schemas eq "{CORE.upper()}"',
    f'schemas eq "{CORE}" and (title pr or emails pr) and not (active eq true)',
    'id eq "03"',
    'id eq "03" or id sw "0" and title pr',
    'userName eq "x" or userName pr and not (emails pr)',
    'title pr and userName eq "alice" and emails[value co "a"]',
    " and ".join(["userName pr"] * 7 + ['emails[type eq "work"]', "title pr"] * 4),
    f"emails[{' and '.join(['type pr'] * 12 + ['value pr', 'not (display pr)'])}]",
    'title eq "b" or ' + " and ".join(["userName pr"] * 12 + ["active eq false"]),
]
