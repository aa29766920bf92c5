"""The files of other programs that the next start would take over: looked at, and left as they are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schema.resource_type import ResourceType
from storage.adapter import Adoptable
from storage.files.documents import UnreadableFile, is_ours, parsed
from storage.files.folders import Folders
from storage.survey import Survey

_Read = tuple[ResourceType, str, dict[str, Any] | str]


def survey_files(root: Path, folders: Mapping[ResourceType, str]) -> Iterator[Adoptable]:
    """Yield each file of another program with what is wrong with it.

    `folders` has the name of the folder of each resource type.
    """
    ids: dict[str, str] = {}
    for resource_type, resource_id, document in _files(root, folders):
        if not isinstance(document, str):
            ids.setdefault(resource_id, resource_type.name)
    survey = Survey(ids)
    for resource_type, resource_id, document in _files(root, folders):
        if isinstance(document, str):
            yield Adoptable(resource_type.name, resource_id, [document], is_left=True)
            continue
        # Also of a file of ours: others may have its values.
        judged = survey.judge(resource_type, resource_id, document)
        if not is_ours(document):
            yield judged


def _files(root: Path, folders: Mapping[ResourceType, str]) -> Iterator[_Read]:
    """Yield the id and the content of each file, or its name and why it cannot be read."""
    there = Folders(root, list(folders.values()))
    for resource_type, folder in folders.items():
        for name in sorted(there.listing(folder)) if (root / folder).is_dir() else ():
            try:
                found = there.read(folder, name)
                if found is not None:
                    yield resource_type, *parsed(name, found[0])
            except UnreadableFile as exc:
                yield resource_type, name, str(exc)
            except OSError as exc:
                yield resource_type, name, f"cannot be read: {exc.strerror}"
