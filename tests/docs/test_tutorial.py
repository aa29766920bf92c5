"""The tutorial works: its own commands, in order, with a real client and the documented receiver."""

import sys
from pathlib import Path

import pytest

from tests.docs.test_examples import SHELLS, run_page
from tests.servers import program


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tutorial_works_from_the_first_command_to_the_last(shell: str, tmp_path: Path) -> None:
    program(f"{Path(sys.executable).parent.parent}/scim2-cli/bin/scim2")

    run_page("tutorial.md", shell, tmp_path)
