"""The command `scim`."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

import click

from app import configure_log, create_app, make_operations
from app.problems import problems_said
from app.protocol.importing import ResourceImport
from app.serving import WebServer
from app.settings import Settings
from app.worker import Worker
from set_delivery.inventory import Inventory

_LOG = logging.getLogger(__name__)


@click.group()
@click.version_option(package_name="scim-gateway", message="scim-gateway %(version)s")
def main() -> None:
    """SCIM 2.0 service provider."""


@main.command()
def serve() -> None:
    """Serve HTTP on HOST:PORT until SIGTERM or SIGINT."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        # Once here, so that whatever is wrong is said once, before workers start.
        create_app(settings)
    WebServer(settings).run()


@main.command("import")
@click.argument("file", type=click.File("rb"))
def import_resources(file: BinaryIO) -> None:
    """Create the resources in FILE, a JSON object a line; - is standard input.

    Resources that exist are left alone, so an import that was interrupted can be run again: a line with
    an id is known by it, one without by userName, a group by externalId or else displayName. A group that
    nobody has changed since gets the members it lacks. PROFILE decides what a line may hold. The exit code
    is 1 when a line could not be imported; each is named on standard error.
    """

    def report(number: int, problem: str) -> None:
        click.echo(f"line {number}: {problem}", err=True)

    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        operations, adapter, _ = make_operations(settings)
        work = ResourceImport(
            *(operations.registry, adapter, operations, report),
            profile=settings.profile,
            max_depth=settings.max_body_depth,
        )
        size = os.fstat(file.fileno()).st_size
        with click.progressbar(length=size, label="importing", file=sys.stderr) as bar:
            result = work.run(_followed(file, bar.update))
        adapter.close()
    click.echo(f"created {result.created}, already there {result.skipped}, failed {result.failed}")
    sys.exit(1 if result.failed else 0)


@main.command("worker")
def work() -> None:
    """Deliver events and carry out asynchronous requests until SIGTERM or SIGINT, without serving HTTP."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        app = create_app(settings)
    worker: Worker = app.extensions["scim.worker"]
    if not worker.pieces:
        _LOG.warning("no work comes: see SET_PUSH_URL, SET_RECEIVERS, SET_POLL_ENABLED, ASYNC_REQUEST")
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    worker.ensure_started()
    ending.wait()
    worker.stop()


@main.group()
def events() -> None:
    """What is on its way to which receiver."""


def _inventory(receiver: str | None = None) -> Inventory:
    """Return the inventory; the program ends where nothing is known of `receiver`."""
    with problems_said():
        settings = Settings.from_env()
        if not settings.publishing.is_on:
            sys.exit("scim: nobody receives events: see SET_PUSH_URL, SET_RECEIVERS, SET_POLL_ENABLED")
        configure_log(settings)
        inventory = make_operations(settings)[2].inventory
        names = [state.name for state in inventory.receivers()]
    if receiver is not None and receiver not in names:
        sys.exit(f"scim: there is no receiver {receiver}, but {', '.join(names) or 'none at all'}")
    return inventory


@events.command("list")
@click.option("--dead", is_flag=True, help="List what was refused for good, instead of the figures.")
def list_events(dead: bool) -> None:
    """Show what is pending, delivered and refused, by receiver and by feed."""
    inventory = _inventory()
    if dead:
        for letter in inventory.dead_letters(limit=1000):
            at = datetime.fromtimestamp(letter.dead_at / 1000, UTC).isoformat(timespec="seconds")
            click.echo(f"{letter.receiver}\t{letter.jti}\t{at}\t{letter.reason}")
        return
    click.echo(f"changes that are no events yet: {inventory.waiting()}")
    for state in inventory.receivers():
        click.echo(
            f"receiver {state.name}: pending {state.pending}, delivered {state.delivered}, "
            f"dead {state.dead}, dropped {state.dropped}"
        )
        if state.dead:
            click.echo(f"  {state.dead} undelivered for good: see --dead, then retry or drop them")
        if state.problem:
            click.echo(f"  {state.attempts} failures ({state.problem}), next in {state.due_in_s:.0f} s")
    for feed in inventory.feeds():
        click.echo(
            f"feed {feed.feed}: {feed.held} events, {feed.unacknowledged} not acknowledged, "
            f"{feed.dropped} dropped"
        )


@events.command("retry")
@click.argument("receiver")
@click.argument("jti", nargs=-1)
def retry_events(receiver: str, jti: tuple[str, ...]) -> None:
    """Deliver again what RECEIVER refused: these SETs, or all; and try it at once after failures."""
    click.echo(f"{_inventory(receiver).retry(receiver, jti)} to be delivered again")


@events.command("drop")
@click.argument("receiver")
@click.argument("jti", nargs=-1)
@click.option("--pending", is_flag=True, help="Forget what is still to be delivered to RECEIVER, too.")
def drop_events(receiver: str, jti: tuple[str, ...], pending: bool) -> None:
    """Forget what RECEIVER refused: these SETs, or all."""
    if pending and jti:
        raise click.UsageError("--pending forgets all that is to be delivered; it goes with no JTI.")
    inventory = _inventory(receiver)
    dropped = inventory.drop(receiver, jti) + (inventory.drop_pending(receiver) if pending else 0)
    click.echo(f"{dropped} forgotten")


def _followed(file: BinaryIO, update: Callable[[int], None]) -> Iterator[bytes]:
    passed = 0
    for line in file:
        yield line
        passed += len(line)
        if passed > 1 << 20:
            update(passed)
            passed = 0
    update(passed)
