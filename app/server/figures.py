"""The folder in which the processes of `scim serve` count: each of them answers for all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from telemetry.metrics import FOLDER


@contextmanager
def figures_shared() -> Iterator[None]:
    """Let this process, and those forked from it, count into one folder, unless they do so already.

    The folder is new, and is removed at the end. It must be there before the first figure is counted.
    """
    if os.environ.get(FOLDER):
        yield
        return
    # Python removes no folder of its own when a signal ends the process: what is left is a few kilobytes.
    folder, maker = tempfile.mkdtemp(prefix="scim-metrics-"), os.getpid()
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)
            del os.environ[FOLDER]
