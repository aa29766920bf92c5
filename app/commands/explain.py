"""The command `scim explain`: how the server finds what a filter asks for."""

import click
import orjson

from app import configure_log
from app.configuration.settings import Settings
from app.protocol.context import system
from app.protocol.search import Query
from app.protocol.search_report import SearchReport
from app.server.problems import problems_said
from app.wiring.base import Base, open_base
from schema.errors import InvalidFilter, InvalidValue
from schema.resource_type import ResourceType
from scim_filter.plan import Part

# As in a request: numbers of 18 digits.
_MOST = 10**18 - 1


@click.command()
@click.argument("type_name", metavar="TYPE")
@click.argument("filter_", metavar="[FILTER]", default="")
@click.option("--sort-by", metavar="PATH", help="Sort by this attribute, as sortBy does.")
@click.option("--descending", is_flag=True, help="Sort in descending order.")
@click.option("--start-index", type=click.IntRange(1, _MOST), default=1, help="The first resource shown (1).")
@click.option("--count", type=click.IntRange(0, _MOST), help="At most so many resources (PAGE_SIZE).")
@click.option("--queries", is_flag=True, help="Show the query of the storage for each part.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, with the queries.")
def explain(
    type_name: str,
    filter_: str,
    sort_by: str | None,
    descending: bool,
    start_index: int,
    count: int | None,
    queries: bool,
    as_json: bool,
) -> None:
    """Carry out a search, and show what the storage answers and what the server evaluates.

    TYPE is a resource type, such as User. FILTER is a filter of SCIM, such as 'title eq "Engineer"'.

    The tree has a line for each part of the filter. "storage": the storage answers the part. "storage and
    server": the storage finds all matches and perhaps more, and the server evaluates the part on these.
    "server": the server evaluates the part on each resource that the other parts leave. The last lines say
    how many resources the server read for how many matches, and which attributes INDEXED_ATTRIBUTES lacks.

    Use the settings of the server: with another INDEXED_ATTRIBUTES, the command would build that index, as
    a start of the server would. The output has the values of the filter, which may be personal data. The
    exit code is 2 for an invalid TYPE, FILTER or PATH.
    """
    query = Query(filter_ or None, start_index, count, sort_by, descending)
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        base = open_base(settings)
        try:
            report = _report(base, _resource_type(base, type_name), query)
        finally:
            base.delivery.database.close()
            base.adapter.close()
    click.echo(orjson.dumps(report.facts()) if as_json else "\n".join(_tree(report, queries)))


def _resource_type(base: Base, name: str) -> ResourceType:
    found = base.registry.resource_type(name)
    if found is None:
        names = ", ".join(resource_type.name for resource_type in base.registry.resource_types)
        raise click.BadParameter(f"{name} is none of {names}", param_hint="TYPE")
    return found


def _report(base: Base, resource_type: ResourceType, query: Query) -> SearchReport:
    try:
        return base.resources.explain(system(), resource_type, query)
    except InvalidFilter as exc:
        raise click.BadParameter(str(exc), param_hint="FILTER") from exc
    except InvalidValue as exc:
        raise click.BadParameter(str(exc), param_hint="--sort-by") from exc


def _tree(report: SearchReport, queries: bool) -> list[str]:
    node = report.selection.filter
    lines = [f"{report.type_name}: {'all' if node is None else report.text(node)}"]
    lines += _branches(report, report.plan.parts, "", queries)
    if report.order is not None:
        lines.append(f"order: {report.order}")
    lines.append(
        f"plan {report.work.plan}: {report.work.read} read from the storage, {report.page.total} found, "
        f"{report.ms:.1f} ms"
    )
    if report.plan.missing:
        lines.append(f"INDEXED_ATTRIBUTES lacks {','.join(report.plan.missing)}")
    return lines


def _branches(report: SearchReport, parts: tuple[Part, ...], indent: str, queries: bool) -> list[str]:
    lines = []
    for part in parts:
        is_last = part is parts[-1]
        about = part.access or part.reason
        lines.append(f"{indent}{'└─' if is_last else '├─'} {part.by}: {report.text(part.node)}")
        below = f"{indent}{'   ' if is_last else '│  '}"
        if about:
            lines.append(f"{below}   {about}")
        if queries and part.query:
            lines.append(f"{below}   query: {part.query}")
        lines += _branches(report, part.parts, below, queries)
    return lines
