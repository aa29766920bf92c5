"""Users and filters on which every adapter must agree with evaluation."""

from typing import Any

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"
SRAM_GROUP = "urn:mace:surf.nl:sram:scim:extension:Group"

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

# The numbers in USERS of the users that each of these finds.
_FOUND = (
    "01389 03 0123456789 0267 26 0267 24567 01389 1 1 012345689"
    " 012345689 7 037 1245789 6 0126 01267 0167 26 012345689 01389"
).split()

# The users that each filter finds, by their number in USERS.
FILTERS: dict[str, str] = dict(zip(EXTREMES, _FOUND, strict=True)) | {
    "emails[primary eq false]": "0167",
    "emails[primary ne false]": "26",
    "emails[primary ne true]": "0167",
    "emails[not (primary eq false)]": "26",
    'emails[type eq "work" and primary eq FALSE]': "06",
    "emails.primary eq false": "0167",
    "emails.primary ne false": "234589",
    "not (emails.primary eq false)": "234589",
    "roles[primary eq false]": "9",
    'roles.primary eq false or emails[primary eq false and value sw "2"]': "79",
    "active eq false": "1",
    "active ne false": "023456789",
    'userName eq "BJENSEN"': "0",
    'userName eq "nobody"': "",
    'userName ne "bjensen"': "123456789",
    'externalId eq "x1"': "4",
    'externalId sw "X"': "3",
    'userName sw "\u00c9"': "6",
    'userName co "\U0001f600"': "8",
    'userName ge "e" and userName lt "\u00e9"': "4579",
    'displayName eq "strasse"': "67",
    'title eq ""': "2",
    "title pr": "01389",
    "not (title pr)": "24567",
    "title eq null": "24567",
    'title co ""': "01389",
    'title gt "A"': "039",
    'title le "b"': "01238",
    'not (title gt "A")': "1245678",
    "title co \"'\" or title co \"\\\"\"": "8",
    'nickName co "0%"': "2",
    'nickName ew "%"': "2",
    'nickName sw "n_"': "4",
    'nickName co "_"': "4",
    'nickName co "\\\\"': "",
    "active eq true": "07",
    "active ne true": "12345689",
    "active eq FALSE": "1",
    "not (active eq true)": "12345689",
    "emails pr": "01267",
    "not (emails pr)": "34589",
    "emails.display pr": "6",
    'emails co "work"': "01",
    'emails.value eq "B@HOME.example"': "0",
    'emails ne "2@x"': "01234589",
    'emails.type ne "work"': "12345789",
    'emails[type eq "work" and value sw "b"]': "0",
    'emails[type eq "home" and value sw "b"]': "0",
    'emails[type eq "work" and value eq "2@x"]': "",
    'emails[not (type pr)]': "1",
    'emails[type ne "work"]': "01267",
    'not (emails[type eq "work"])': "12345789",
    'emails[type eq "other" or display co "THREE"]': "6",
    'emails[(type eq "work" or type eq "home") and value ew "example" and not (value sw "b")]': "",
    "emails[primary eq true]": "26",
    "emails[primary eq true and value pr]": "6",
    'emails[value co "@" and type eq "work" and primary pr]': "",
    'name.familyName eq "o\'malley"': "0",
    'name[familyName pr and givenName sw "bar"]': "0",
    "name pr": "0",
    f'{ENTERPRISE}:department eq "tours"': "8",
    f'{ENTERPRISE}:manager.value eq "bj"': "8",
    f'{ENTERPRISE}:manager[value eq "bj" and displayName pr]': "8",
    f"{ENTERPRISE}:manager pr": "8",
    f"{ENTERPRISE} pr": "8",
    f"{SRAM}:sramInactiveDays gt -10": "4",
    f"{SRAM}:sramInactiveDays ge -10 and {SRAM}:sramInactiveDays lt 9": "5",
    f"{SRAM}:sramInactiveDays ne 9": "012356789",
    f"{SRAM}.eduPersonUniqueId pr": "5",
    'x509Certificates.value eq "QUJD"': "8",
    'x509Certificates.value co "UJ"': "8",
    "x509Certificates pr": "8",
    'roles[value eq "b" and primary eq true] and title eq "c"': "9",
    'meta.created gt "2026-01-15T00:00:00Z"': "124578",
    'meta.created le "2026-01-01T01:00:00+01:00"': "0369",
    'meta.lastModified eq "2026-02-01T00:00:00.000Z" and active pr': "17",
    f'schemas eq "{CORE.upper()}"': "0123456789",
    f'schemas[value eq "{ENTERPRISE}"]': "8",
    f'schemas.value sw "{SRAM}"': "45",
    f'schemas[value ew "User" and not (value eq "{CORE}")] and title pr': "8",
    f'schemas eq "{CORE}" and (title pr or emails pr) and not (active eq true)': "123689",
    'id eq "03"': "9",
    'id eq "03" or id sw "0" and title pr': "01389",
    'userName eq "x" or userName pr and not (emails pr)': "34589",
    'title pr and userName eq "alice" and emails[value co "a"]': "1",
    " and ".join(["userName pr"] * 7 + ['emails[type eq "work"]', "title pr"] * 4): "0",
    f"emails[{' and '.join(['type pr'] * 12 + ['value pr', 'not (display pr)'])}]": "067",
    'title eq "b" or ' + " and ".join(["userName pr"] * 12 + ["active eq false"]): "013",
}

# Labels of groups, each of them its own `value`, and the groups that filters find by their number here.
LABELS: list[list[str]] = [
    ["red", "Blue"],
    ["abc", "xyz"],
    ["a-z", "other"],
    [],
    ["", "red"],
    [f"a{'x' * 300}z"],
]
LABEL_FILTERS: dict[str, str] = {
    'labels eq "RED"': "04",
    'labels.value eq "RED"': "04",
    'labels[value eq "RED"]': "04",
    'labels[value ne "red"]': "01245",
    'not (labels[value eq "red"])': "1235",
    'labels sw "a" and labels ew "z"': "125",
    'labels[value sw "a" and value ew "z"]': "25",
    'labels[value sw "a"].value ew "Z"': "25",
    'labels[value gt "b" and value lt "c"]': "0",
    'labels[value eq "abc" or value eq "blue"]': "01",
    'labels[(value eq "abc" or value eq "red") and not (value eq "red")]': "1",
    "labels.value pr": "01245",
    "labels[value pr]": "01245",
    "labels[not (value pr)]": "4",
    'labels[value eq ""] and labels[value co "e" and not (value co "b")]': "4",
    'displayName ne "g4" and labels[not (value sw "a") and value pr]': "012",
}
