"""Text to tree, and every error with its position (RFC 7644 sections 3.4.2.2 and 3.5.2)."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from schema.errors import InvalidFilter, InvalidPath
from scim_filter.nodes import And, Comparison, Node, Not, Or, PatchPath, Path, Presence, ValuePath
from scim_filter.parser import parse_filter, parse_path
from tests.scim_filter.conftest import ENTERPRISE, SRAM, USER


def eq(path: str, value: str | bool | int | float | None) -> Comparison:
    return Comparison(Path(path), "eq", value)


def pr(path: str) -> Presence:
    return Presence(Path(path))


A, B, C, D = (pr(name) for name in "abcd")

TREES: list[tuple[str, Node]] = [
    ('userName eq "x"', eq("userName", "x")),
    ('userName EQ "x"', eq("userName", "x")),
    ('userName eq"x"', eq("userName", "x")),
    ('  userName\teq\r\n"x"  ', eq("userName", "x")),
    ("a PR", A),
    ("a eq True", eq("a", True)),
    ("a eq FALSE", eq("a", False)),
    ("a eq Null", eq("a", None)),
    ("a eq 0", eq("a", 0)),
    ("a eq -1.5E+2", eq("a", -150.0)),
    ("a eq 10", eq("a", 10)),
    (r'a eq "\"\\\/\b\n\u00e9\ud83d\ude00"', eq("a", '"\\/\b\né\U0001f600')),
    ('a eq "and ( [ ] ) or"', eq("a", "and ( [ ] ) or")),
    ('a eq ""', eq("a", "")),
    ("andrew pr", pr("andrew")),
    ("notes pr or nullable pr", Or((pr("notes"), pr("nullable")))),
    ("$ref pr", pr("$ref")),
    ("members.$ref pr", pr("members.$ref")),
    (f"{SRAM}.urn pr", pr(f"{SRAM}.urn")),
    (f"{USER}:name.familyName pr", pr(f"{USER}:name.familyName")),
    ("URN:x:a~b!c'd:e pr", pr("URN:x:a~b!c'd:e")),
    ("a pr and b pr and c pr", And((A, B, C))),
    ("a pr or b pr or c pr", Or((A, B, C))),
    ("a pr or b pr and c pr", Or((A, And((B, C))))),
    ("a pr and b pr or c pr and d pr", Or((And((A, B)), And((C, D))))),
    ("(a pr or b pr) and c pr", And((Or((A, B)), C))),
    ("a pr and (b pr and c pr)", And((A, B, C))),
    ("((a pr))", A),
    ("not (a pr) and b pr", And((Not(A), B))),
    ("NOT(a pr or b pr)", Not(Or((A, B)))),
    ("not (not (a pr))", Not(Not(A))),
    ('e[t eq "w"]', ValuePath(Path("e"), eq("t", "w"))),
    ("e [ a pr ]", ValuePath(Path("e"), A)),
    ("e[a pr and not (b pr or (c pr))]", ValuePath(Path("e"), And((A, Not(Or((B, C))))))),
    ("e[a pr] or not (e[b pr])", Or((ValuePath(Path("e"), A), Not(ValuePath(Path("e"), B))))),
    ('e[a pr].v eq "x"', ValuePath(Path("e"), And((A, eq("v", "x"))))),
    ('e[a pr and v eq "x"]', ValuePath(Path("e"), And((A, eq("v", "x"))))),
    ('e[a pr or b pr].v eq "x"', ValuePath(Path("e"), And((Or((A, B)), eq("v", "x"))))),
    ("e[a pr].b pr", ValuePath(Path("e"), And((A, B)))),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_a_filter_has_this_tree(text: str, tree: Node) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize("operator", ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"])
def test_every_operator_is_known_in_any_case(operator: str) -> None:
    assert parse_filter(f"a {operator.title()} 1") == Comparison(Path("a"), operator, 1)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("active", PatchPath(Path("active"))),
        ("name.familyName", PatchPath(Path("name.familyName"))),
        (ENTERPRISE, PatchPath(Path(ENTERPRISE))),
        (f"{ENTERPRISE}:manager.value", PatchPath(Path(f"{ENTERPRISE}:manager.value"))),
        ('e[t eq "w"]', PatchPath(Path("e"), eq("t", "w"))),
        ("e[a pr or b pr].$ref", PatchPath(Path("e"), Or((A, B)), "$ref")),
        (f"{SRAM}:links[a pr].value", PatchPath(Path(f"{SRAM}:links"), A, "value")),
    ],
)
def test_a_patch_path_has_this_tree(text: str, tree: PatchPath) -> None:
    assert parse_path(text) == tree


def test_paths_tell_where_they_stand() -> None:
    tree = parse_filter("aa pr and e[bb pr].cc pr")

    assert isinstance(tree, And)
    first, second = tree.operands
    assert isinstance(first, Presence) and first.path.position == 1
    assert isinstance(second, ValuePath) and second.path.position == 11
    assert isinstance(second.filter, And)
    assert [node.path.position for node in second.filter.operands if isinstance(node, Presence)] == [13, 20]


def test_literals_that_python_takes_for_equal_are_different() -> None:
    nodes = {parse_filter("a eq 1"), parse_filter("a eq true"), parse_filter("a eq 1.0")}

    assert len(nodes) == 3


ERRORS = [
    ("", "found the end at character 1; expected: an attribute, 'not', '('"),
    ("   ", "found the end at character 4"),
    ("a", "found the end at character 2; expected: an operator, 'pr', '['"),
    ("a eq", "found the end at character 5; expected: a value"),
    ("a eq b", "found 'b' at character 6; expected: a value"),
    ("a is 1", "found 'is' at character 3; expected: an operator, 'pr', '['"),
    ("a eq 1 b pr", "found 'b' at character 8; expected: 'and', 'or', the end"),
    ("a pr)", "found ')' at character 5; expected: 'and', 'or', the end"),
    ("(a pr", "found the end at character 6; expected: 'and', 'or', ')'"),
    ("(a pr]", "found ']' at character 6; expected: 'and', 'or', ')'"),
    ("e[a pr", "found the end at character 7; expected: 'and', 'or', ']'"),
    ("e[]", "found ']' at character 3; expected: an attribute, 'not', '('"),
    ("()", "found ')' at character 2"),
    ("a pr and", "found the end at character 9; expected: an attribute, 'not', '('"),
    ("and", "found 'and' at character 1"),
    ("a pr AND OR b pr", "found 'OR' at character 10"),
    ("not a pr", "found 'a' at character 5; expected: '('"),
    ("e[a pr and f[b pr]]", "found brackets within brackets at character 13"),
    ("e[a pr].b", "found the end at character 10; expected: an operator, 'pr'"),
    ("e[a pr].b.c pr", "found '.c' at character 10"),
    ('"a" eq 1', "found '\"a\"' at character 1"),
    ('a eq "x', "found a string without closing quote at character 6"),
    ('a eq "x\\"', "found a string without closing quote at character 6"),
    ("a eq 'x'", "found \"'\" at character 6; strings need double quotes"),
    ('a eq "\\x"', "found a string that is not valid JSON at character 6"),
    ('a eq "x\ny"', "found a string that is not valid JSON at character 6"),
    ('a eq "x\\\ny"', "found a string that is not valid JSON at character 6"),
    ('a eq "\\ud800"', "found a string that is not valid JSON at character 6"),
    ('a eq "\ud800"', "found a string that is not valid JSON at character 6"),
    ("a eq 007", "found '007', which is not a JSON number, at character 6"),
    ("a eq 1.", "found '1.', which is not a JSON number, at character 6"),
    ("a eq 1_0", "found '1_0', which is not a JSON number, at character 6"),
    ("a eq 1٣", "found '1٣', which is not a JSON number, at character 6"),
    ("a eq ٣", "found '٣' at character 6"),
    ("a eq .5", "found '.' at character 6"),
    ("a eq +1", "found '+' at character 6"),
    ("a eq 1e999", "found '1e999', which is out of range, at character 6"),
    ("a eq " + "9" * 101, "found a number of more than 100 characters at character 6"),
    ("a eq NaN", "found 'NaN' at character 6; expected: a value"),
    ("naïve pr", "found 'ï' at character 3"),
    ("a = 1", "found '=' at character 3"),
    ("a eq 1; drop table", "found ';' at character 7"),
    ("a\u2028pr", "found '\\u2028' at character 2"),
    ("a\x00pr", "found '\\x00' at character 2"),
    ("a eq 1 " + "b" * 99, "found '" + "b" * 40 + "...' at character 8"),
]


@pytest.mark.parametrize(("text", "problem"), ERRORS)
def test_an_error_tells_what_was_found_and_where(text: str, problem: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(text)

    assert caught.value.detail.startswith(f"filter: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "found the end at character 1; expected: an attribute"),
        ("a pr", "found 'pr' at character 3; expected: '[', the end"),
        ("e[a pr].b.c", "found '.c' at character 10; expected: the end"),
        ("e[a pr]b", "found 'b' at character 8; expected: a sub-attribute, the end"),
        ("e[", "found the end at character 3; expected: an attribute, 'not', '('"),
        ("not", "found 'not' at character 1; expected: an attribute"),
        ("e[a pr", "found the end at character 7; expected: 'and', 'or', ']'"),
        ("e]", "found ']' at character 2; expected: '[', the end"),
        ("e[a pr][b pr]", "found '[' at character 8"),
        ('e[a pr]"x', "found a string without closing quote at character 8"),
    ],
)
def test_an_error_in_a_path_is_an_invalid_path(text: str, problem: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        parse_path(text)

    assert caught.value.detail.startswith(f"path: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("e[0]", "found '0' at character 3"),
        ("e[]", "found ']' at character 3; expected: an attribute, 'not', '('"),
        ("e[a pr and].b", "found ']' at character 11; expected: an attribute, 'not', '('"),
        ("e[(a pr]", "found ']' at character 8; expected: 'and', 'or', ')'"),
        ("e[a is 1]", "found 'is' at character 5; expected: an operator, 'pr', '['"),
        ("e[a[b pr]]", "found brackets within brackets at character 4"),
        ('e[a eq "x].b', "found a string without closing quote at character 8"),
        ("e[a eq 'x'].b", "found \"'\" at character 8; strings need double quotes"),
        (f"e[{'(' * 50}", "found more than 50 levels of nesting"),
    ],
)
def test_an_error_within_the_brackets_of_a_path_is_an_invalid_filter(text: str, problem: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_path(text)

    assert caught.value.detail.startswith(f"path: {problem}")


@pytest.mark.parametrize("start", ["(" * 2000, "not (" * 1500, "e[" + "(" * 2000])
def test_nesting_has_a_limit(start: str) -> None:
    with pytest.raises(InvalidFilter, match="more than 50 levels"):
        parse_filter(start + "a pr")


def test_nesting_up_to_the_limit_is_accepted() -> None:
    assert parse_filter("(" * 50 + "a pr" + ")" * 50) == A
    with pytest.raises(InvalidFilter, match="more than 2 levels of nesting at character 3"):
        parse_filter("(((a pr)))", max_depth=2)


def test_groups_beside_each_other_are_not_nested() -> None:
    text = " and ".join(["(a pr)"] * 500)

    assert parse_filter(text) == And((A,) * 500)


def test_the_length_has_a_limit() -> None:
    assert parse_filter("a pr" + " " * 8188) == A
    with pytest.raises(InvalidFilter, match="more than 8192 characters .* at character 8193"):
        parse_filter("a pr" + " " * 8189)
    with pytest.raises(InvalidPath, match="more than 4 characters"):
        parse_path("title", max_length=4)


def test_importing_builds_nothing() -> None:
    program = "import sys; from scim_filter import parser; sys.exit(parser._tables.cache_info().misses)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def parsed(text: str) -> Node | str:
    try:
        return parse_filter(text)
    except InvalidFilter as error:
        return error.detail


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as can be, in the middle of a parse."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_eight_threads_parse_as_one_does() -> None:
    # Names of different length, so that a lexer shared by mistake reads at the wrong place, and
    # errors at different depths, so that a parser shared by mistake expects the wrong thing.
    texts = [f'{"x" * (n % 17 + 1)} eq "{n}" and (e[a pr].v co "{n}" or not (b pr))' for n in range(200)]
    texts += ["(" * (n % 9) + "a pr and " * (n % 5) + ("e[a pr" if n % 2 else "a") for n in range(200)]
    expected = [parsed(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(lambda: [parsed(text) for text in texts]) for _ in range(8)]

    assert all(run.result() == expected for run in runs)


def test_the_parser_is_built_once_by_threads_that_come_together() -> None:
    program = (
        "import threading\n"
        "from scim_filter import parse_filter, parser\n"
        "gate = threading.Barrier(8)\n"
        "run = lambda: (gate.wait(), parse_filter('a pr'))\n"
        "threads = [threading.Thread(target=run) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert parser._tables.cache_info().misses == 1, parser._tables.cache_info()\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "a"',
        ' urn:ietf:params:scim:schemas:core:2.0:User:name.familyName\tSW\n"\u00c9\U0001f600" ',
        'a.b co ""',
        'a.. ew "and"',
        '$ref ne "x"',
    ],
)
def test_a_single_comparison_is_read_as_it_is_in_a_group(text: str) -> None:
    assert parse_filter(text) == parse_filter(f"({text})")


@pytest.mark.parametrize("text", ['eq eq "x"', 'not eq "x"', '\u017f eq "x"', 'a eq "\x01"', 'a eq "\ud800"'])
def test_what_is_no_comparison_is_none_without_a_group(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(text)
