"""The command `scim token suggest`: the profile that the deviations of a client fit."""

import sys
from typing import Final

import click
import requests

from app import configure_log
from app.configuration.settings import Settings
from app.protocol.profiles import fitting_profile
from app.server.problems import problems_said
from telemetry.catalogue import TOLERANCES
from telemetry.metrics import label_sets

_TIMEOUT_S: Final = 10.0


@click.command()
@click.argument("name")
@click.option("--url", metavar="URL", help="The URL of /metrics. The default is port PORT of this machine.")
def suggest(name: str, url: str | None) -> None:
    """Print the profile with the fewest tolerances that accepts what the client NAME has sent.

    NAME is the name of a token, or of an API key in the log. The command reads /metrics of the running
    server with METRICS_TOKEN: the deviations since its start. Let the client do all of its work first, such
    as an initial synchronisation.
    """
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
    if not settings.metrics_token:
        sys.exit("scim: METRICS_TOKEN is not set: the command reads /metrics with it")
    address = url or f"http://127.0.0.1:{settings.port}/metrics"
    try:
        answer = requests.get(
            address, headers={"Authorization": f"Bearer {settings.metrics_token}"}, timeout=_TIMEOUT_S
        )
        answer.raise_for_status()
    except requests.RequestException as exc:
        sys.exit(f"scim: {address} cannot be read: {type(exc).__name__}")
    labels = label_sets(answer.text, TOLERANCES.name)
    used = {one["tolerance"] for one in labels if one["principal"] == name}
    if not used and name not in {one["principal"] for one in label_sets(answer.text, "scim_requests_total")}:
        sys.exit(f"scim: the server has not seen the client {name} since its start")
    click.echo(fitting_profile(frozenset(used)))
    for switch in sorted(used):
        click.echo(f"  used: {switch}", err=True)
