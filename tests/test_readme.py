"""What README.md says is so."""

import re
from pathlib import Path

from app.settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_setting_stands_in_the_table_and_every_row_is_a_setting() -> None:
    rows = re.findall(r"^\| `([A-Za-z_]+)` \|", README, re.MULTILINE)

    assert sorted(rows) == sorted(name for name in Settings.variables() if name.isupper())


def test_the_defaults_in_the_table_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| .* \| (?:`([^`]*)`)? *\|$", README, re.MULTILINE)
    fields = Settings.__dataclass_fields__

    assert {name.lower() for name, _ in rows} >= set(fields)
    for name, shown in rows:
        field = fields.get(name.lower())
        if field is None:
            # Another spelling of a variable.
            assert shown == ""
        elif shown:
            assert field.metadata["read"](shown) == field.default, name
        else:
            assert field.default in ("", None, (), frozenset()), name


def test_every_secret_can_come_from_a_file_and_stands_in_the_sentence_that_says_so() -> None:
    sentence = next(text for text in README.split("\n\n") if text.startswith("A secret may come from a file"))

    assert re.findall(r"`([A-Z_]+)`", sentence) == [n for n in Settings.file_variables() if n.isupper()]


def test_every_endpoint_stands_in_the_readme(scim_paths: set[str]) -> None:
    assert {path for path in scim_paths if f"`{path}`" not in README} == set()
