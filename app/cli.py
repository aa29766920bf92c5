"""The command `scim`."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

import click

from app import configure_log, configure_tracing, create_app
from app.commands.adopt import adopt
from app.commands.audit import audit
from app.commands.check import check
from app.commands.explain import explain
from app.commands.guard import guard
from app.commands.owner import owner
from app.commands.token import token
from app.commands.token_suggest import suggest
from app.configuration.settings import Settings, SettingsError
from app.protocol.context import system
from app.protocol.importing import ResourceImport
from app.server.figures import figures_shared
from app.server.problems import problems_said
from app.server.serving import WebServer
from app.server.starting import progress_served
from app.wiring.base import open_base
from app.work.registry import Work
from app.work.threads import Threads
from set_delivery.inventory import Inventory
from storage.complete import is_for_one_process
from telemetry.metrics import served
from telemetry.tracing import flush

_LOG = logging.getLogger(__name__)


@click.group()
@click.version_option(package_name="scim-gateway", message="scim-gateway %(version)s")
def main() -> None:
    """SCIM 2.0 service provider. Environment variables hold the settings."""


@main.command()
def serve() -> None:
    """Serve HTTP on HOST:PORT until SIGTERM or SIGINT."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        configure_tracing(settings)
    with figures_shared():
        # Once here, so that whatever is wrong is said once, before workers start.
        with problems_said(), progress_served(settings):
            create_app(settings)
        WebServer(settings).run()


@main.command("import")
@click.argument("file", type=click.File("rb"))
def import_resources(file: BinaryIO) -> None:
    """Create the resources in FILE, which holds one JSON object per line; - is standard input.

    The import changes no resource that exists, so an interrupted import can be run again. It finds an
    existing resource by its id. For a line without id, it finds a user by userName, and a group by
    externalId or else displayName. Exception: an existing group that nobody has changed since its
    import receives the members that it lacks. PROFILE applies to each line as it applies to requests.

    Each line needs schemas, which tells a user from a group. The import skips a line that fails and
    goes on with the next one. Standard error names each such line with the cause, and the exit code
    is then 1. After a correction of the file, run the import again.
    """

    def report(number: int, problem: str) -> None:
        click.echo(f"line {number}: {problem}", err=True)

    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        context = replace(system("import"), profile=settings.profile)
        base = open_base(settings)
        depth = settings.max_body_depth
        work = ResourceImport(base.resources, base.imports, context, report, max_depth=depth)
        size = os.fstat(file.fileno()).st_size
        with click.progressbar(length=size, label="importing", file=sys.stderr) as bar:
            result = work.run(_followed(file, bar.update))
        base.adapter.close()
    click.echo(f"created {result.created}, already there {result.skipped}, failed {result.failed}")
    sys.exit(1 if result.failed else 0)


@main.command("worker")
def work() -> None:
    """Deliver events and carry out asynchronous requests until SIGTERM or SIGINT, without serving HTTP."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        configure_tracing(settings)
        app = create_app(settings)
        if is_for_one_process(app.extensions["scim.storage"]):
            raise SettingsError([f"the storage {settings.backend[0]} is for one process: run no scim worker"])
    pending: Work = app.extensions["scim.work"]
    if not pending.pieces:
        _LOG.warning(
            "the worker has nothing to do: set SET_PUSH_URL, SET_RECEIVERS, SET_POLL_ENABLED or ASYNC_REQUEST"
        )
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    threads = Threads(pending)
    with _metrics_served(settings):
        threads.start()
        ending.wait()
    threads.stop()
    flush()


@contextmanager
def _metrics_served(settings: Settings) -> Iterator[None]:
    """Answer with the metrics at METRICS_PORT; the program ends when another one has the port."""
    if settings.metrics_port is None:
        yield
        return
    with ExitStack() as stack, problems_said():
        try:
            stack.enter_context(served(settings.metrics_host, settings.metrics_port))
        except OSError as exc:
            raise SettingsError([f"METRICS_PORT: {settings.metrics_port} cannot be used: {exc}"]) from exc
        yield


@main.group()
def events() -> None:
    """Inspect and repair the delivery of events to receivers."""


def _inventory(receiver: str | None = None) -> Inventory:
    """Return the inventory; the program ends where nothing is known of `receiver`."""
    with problems_said():
        settings = Settings.from_env()
        if not settings.publishing.is_on:
            sys.exit("scim: events are switched off: set SET_PUSH_URL, SET_RECEIVERS or SET_POLL_ENABLED")
        configure_log(settings)
        inventory = open_base(settings).delivery.inventory
        names = [state.name for state in inventory.receivers()]
    if receiver is not None and receiver not in names:
        sys.exit(f"scim: there is no receiver {receiver}; the receivers are: {', '.join(names) or 'none'}")
    return inventory


@events.command("list")
@click.option("--dead", is_flag=True, help="List the permanently refused SETs instead of the counts.")
def list_events(dead: bool) -> None:
    """Count the pending, delivered and refused SETs of each receiver, and the SETs of each feed."""
    inventory = _inventory()
    if dead:
        for letter in inventory.dead_letters(limit=1000):
            at = datetime.fromtimestamp(letter.dead_at / 1000, UTC).isoformat(timespec="seconds")
            click.echo(f"{letter.receiver}\t{letter.jti}\t{at}\t{letter.reason}")
        return
    click.echo(f"changes not yet turned into SETs: {inventory.waiting()}")
    for state in inventory.receivers():
        click.echo(
            f"receiver {state.name}: pending {state.pending}, delivered {state.delivered}, "
            f"dead {state.dead}, dropped {state.dropped}"
        )
        if state.dead:
            click.echo(f"  {state.dead} refused permanently: list them with --dead, then retry or drop them")
        if state.problem:
            due = f"next in {state.due_in_s:.0f} s"
            click.echo(f"  {state.attempts} failed attempts in a row ({state.problem}), {due}")
    for feed in inventory.feeds():
        click.echo(
            f"feed {feed.feed}: {feed.held} events, {feed.unacknowledged} not acknowledged, "
            f"{feed.dropped} dropped"
        )


@events.command("retry")
@click.argument("receiver")
@click.argument("jti", nargs=-1)
def retry_events(receiver: str, jti: tuple[str, ...]) -> None:
    """Deliver the refused SETs of RECEIVER again: those named by JTI, or all without JTI.

    The next attempt begins at once, without the pause that follows failed attempts.
    """
    click.echo(f"{_inventory(receiver).retry(receiver, jti)} SETs to deliver again")


@events.command("drop")
@click.argument("receiver")
@click.argument("jti", nargs=-1)
@click.option("--pending", is_flag=True, help="Also delete the SETs not yet delivered to RECEIVER.")
def drop_events(receiver: str, jti: tuple[str, ...], pending: bool) -> None:
    """Delete the refused SETs of RECEIVER: those named by JTI, or all without JTI."""
    if pending and jti:
        raise click.UsageError("--pending deletes all SETs not yet delivered; it cannot be used with JTI.")
    inventory = _inventory(receiver)
    dropped = inventory.drop(receiver, jti) + (inventory.drop_pending(receiver) if pending else 0)
    click.echo(f"{dropped} SETs deleted")


main.add_command(audit)
main.add_command(check)
main.add_command(adopt)
main.add_command(owner)
main.add_command(guard)
main.add_command(token)
token.add_command(suggest)
main.add_command(explain)


def _followed(file: BinaryIO, update: Callable[[int], None]) -> Iterator[bytes]:
    passed = 0
    for line in file:
        yield line
        passed += len(line)
        if passed > 1 << 20:
            update(passed)
            passed = 0
    update(passed)
