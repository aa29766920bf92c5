"""Backends that no setting chooses yet: modules of the tests with an `open_adapter`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.configuration.settings import BaseSettings
from storage import registry

_ROOT: Final = Path(__file__).parent.parent.parent


def plug(change: Callable[[object, str, object], object], module: str, **options: str) -> dict[str, str]:
    """Have resources kept by a module; return the variables with which a new process does so.

    `change` sets an attribute. Python runs `sitecustomize.py` at its start.
    """
    name = module.rpartition(".")[2]
    change(registry, "ADAPTERS", {**registry.ADAPTERS, name: module})
    change(BaseSettings, "storage", property(lambda settings: (name, options)))
    plugged = {"PLUGGED": module, "PLUGGED_OPTIONS": json.dumps(options)}
    return {**plugged, "PYTHONPATH": f"{_ROOT}/tests/plugged:{_ROOT}"}
