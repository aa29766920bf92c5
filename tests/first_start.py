"""Instances of the server that start for the first time at one moment."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.conftest import KEY

# An instance reads its settings, waits for the others, and makes its application, as a web process does.
_INSTANCE: Final = """
import sys
from app import configure_log, create_app
from app.configuration.settings import Settings
settings = Settings.from_env()
configure_log(settings)
print("waits", flush=True)
sys.stdin.readline()
base = create_app(settings).extensions["scim.base"]
print([key.hex() for key in base.delivery.keys.cursors("client")])
base.adapter.check()
base.delivery.database.close()
base.adapter.close()
"""


def start_together(instances: Sequence[Mapping[str, str]], timeout_s: float = 120) -> list[str]:
    """Start an instance with each of these variables at one moment, and wait until all serve.

    Return what each of them logged. Fails with the log of those that did not come up.
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _INSTANCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"API_KEY": KEY, "LOGLEVEL": "WARNING", **variables},
        )
        for variables in instances
    ]
    for one in started:
        assert one.stdout is not None and one.stdout.readline() == "waits\n", "an instance did not begin"
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    with ThreadPoolExecutor(len(started)) as pool:
        # At the same time: an instance whose log nobody reads would hold up the others.
        said = list(pool.map(lambda one: one.communicate(timeout=timeout_s), started))
    failed = [error for one, (_, error) in zip(started, said, strict=True) if one.returncode != 0]
    assert not failed, f"{len(failed)} of {len(started)} did not come up:\n" + "\n".join(failed)
    assert len({out for out, _ in said}) == 1, "not all have the same keys"
    return [error for _, error in said]
