"""docs/reference/requirements.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = (ROOT / "docs" / "reference" / "requirements.md").read_text()
ROWS = re.findall(r"^\| ([\d.]+) \| ([^|]+) \| ([^|]+) \|$", TABLES, re.MULTILINE)


def test_every_requirement_has_its_test_or_a_reason() -> None:
    assert len(ROWS) > 80
    for section, requirement, proof in ROWS:
        match = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", proof.strip())
        if match is None:
            assert re.match(r"not (met here|applicable): .{10}", proof), (section, requirement)
            continue
        path, name = match.groups()
        source = (ROOT / path).read_text()
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), (section, requirement, name)
