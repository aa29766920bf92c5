"""The command `scim check`: what the next start would find, and do."""

import sys
from collections import Counter
from collections.abc import Iterable

import click
import orjson

from app import configure_log
from app.configuration.settings import Settings
from app.server.problems import problems_said
from app.wiring.base import load_types, open_adapter
from app.wiring.state import refuse_state_of_later_release
from schema.registry import Registry
from storage.adapter import Adoptable


@click.command()
@click.option("--adopt", is_flag=True, help="Also list what is wrong with documents that it would adopt.")
@click.option("--json", "as_json", is_flag=True, help="With --adopt: print a JSON object per line.")
def check(adopt: bool, as_json: bool) -> None:
    """Check the settings and the definitions of the next start; change nothing.

    Without --adopt, the command does not ask the storage, and prints nothing if it finds nothing wrong.

    With --adopt, read the documents of other programs that the next start would make resources. A line
    names each document with a problem; the last line of each resource type counts the documents, those
    with problems, and those of them that would be left out. A server may run meanwhile.

    The exit code is 1 if a setting cannot be used, the storage cannot be read, a later release has made its
    tables, or a document has a problem.
    """
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        registry = load_types(settings)
        adapter = open_adapter(settings, registry)
        if not adopt:
            return
        try:
            refuse_state_of_later_release(settings, adapter)
            faulty = _report(registry, adapter.to_adopt(registry.resource_types), as_json)
        finally:
            adapter.close()
    sys.exit(1 if faulty else 0)


def _report(registry: Registry, documents: Iterable[Adoptable], as_json: bool) -> bool:
    """Print what is wrong, and the counts; return whether anything is."""
    found: Counter[str] = Counter()
    faulty: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for one in documents:
        found[one.resource_type] += 1
        left[one.resource_type] += one.is_left
        if one.problems:
            faulty[one.resource_type] += 1
            _print_problems(one, as_json)
    for resource_type in registry.resource_types:
        name = resource_type.name
        counts = {"documents": found[name], "faulty": faulty[name], "left": left[name]}
        if as_json:
            click.echo(orjson.dumps({"resourceType": name, **counts}))
        else:
            click.echo(
                f"{name}: {counts['documents']} documents to adopt, {counts['faulty']} with problems, "
                f"{counts['left']} of them left out"
            )
    return faulty.total() > 0


def _print_problems(one: Adoptable, as_json: bool) -> None:
    if as_json:
        shown = {"resourceType": one.resource_type, "id": one.resource_id, "left": one.is_left}
        click.echo(orjson.dumps(shown | {"problems": list(one.problems)}))
        return
    for problem in one.problems:
        click.echo(f"{one.resource_type} {one.resource_id}: {problem}{' (left out)' if one.is_left else ''}")
