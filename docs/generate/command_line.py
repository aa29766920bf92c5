"""docs/reference/command-line.md, from the commands of click."""

import inspect
from collections.abc import Iterator
from typing import Final

import click

from app.cli import main
from docs.generate.markdown import code, document, listed, table

_INTRO: Final = """
The package installs the command `scim`. `make run` puts it into `.venv/bin`; the container has it in its
`PATH`. Each command reads the [settings](settings.md) from the environment and logs to standard error.
"""
_EXIT_CODES: Final = (
    (
        "0",
        "The command did its work. `scim serve` and `scim worker` end with 0 after SIGTERM or SIGINT.",
    ),
    (
        "1",
        "The command could not do its work, or not all of it. Standard error has one line for each reason:"
        " an error in the settings, a storage that does not answer, a line of an import that failed, or an"
        " entry that `scim adopt` could not adopt."
        " `scim audit verify` names each position of the change log that does not verify on standard output.",
    ),
    (
        "2",
        "The command line is wrong: an unknown command or option, or a missing argument or file. `scim audit`"
        " also ends with 2 where there is no change log, `scim adopt` for an invalid filter, and for a"
        " storage without entries of other programs, `scim explain` for an invalid type, filter or path.",
    ),
)


def page() -> str:
    """Return the page of the command line."""
    parts = ["## Exit codes", table(("code", "meaning"), _EXIT_CODES)]
    for path, command in _commands("scim", main):
        parts += _described(path, command)
    return document("Command line", _INTRO, *parts)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _commands(f"{path} {name}", sub)


def _described(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"## {path}"
    yield code(f"{path} {' '.join(command.collect_usage_pieces(context))}")
    yield inspect.cleandoc(command.help or "").replace("\f", "")
    if isinstance(command, click.Group):
        subs = (_sub(f"{path} {name}", sub) for name, sub in command.commands.items())
        yield table(("command", "what it does"), subs)
    rows = [_row(parameter, context) for parameter in command.get_params(context)]
    yield table(("argument or option", "values", "meaning"), rows)


def _sub(path: str, command: click.Command) -> tuple[str, str]:
    return f"[`{path}`](#{path.replace(' ', '-')})", command.get_short_help_str(200)


def _row(parameter: click.Parameter, context: click.Context) -> tuple[str, ...]:
    if isinstance(parameter, click.Argument):
        count = "any number, or none" if parameter.nargs < 0 else "one"
        kind = "a file, or `-`" if isinstance(parameter.type, click.File) else "text"
        return f"`{parameter.make_metavar(context)}`", f"{kind}; {count}", ""
    assert isinstance(parameter, click.Option)
    kind = "" if parameter.is_flag else parameter.type.name
    return listed((*parameter.opts, *parameter.secondary_opts)), kind, parameter.help or ""
