"""Commands that run processes: migrate, serve, watch, simulator, demo."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from app.settings import load_settings, load_settings_without_key
from app.wiring import database_url, migration_urls

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def migrate() -> None:
    """Migrate the database to this version; safe to repeat."""
    from app.store.db.schema import migrate as run_migrations

    settings = load_settings_without_key()
    with migration_urls(settings) as (owner, service):
        run_migrations(owner, service_url=service)
    typer.echo("The database is up to date.")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    with_watcher: Annotated[
        bool, typer.Option("--with-watcher", help="Run a watcher in this process too.")
    ] = False,
) -> None:
    """Run the HTTP service for terminals, Monta and operations."""
    from app import processes as running

    settings = running.started(load_settings())
    with database_url(settings) as url:
        running.run(running.serve(settings, url, host=host, port=port, with_watcher=with_watcher))


@app.command()
def watch() -> None:
    """Run a watcher: it starts, limits, stops and settles charges. Several may run."""
    from app.processes import run_watcher

    run_watcher()


@app.command()
def simulator(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 9000,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times faster than real time.")] = 1,
) -> None:
    """Run a simulated Monta under /api/v1, with magic charge points for every fault."""
    from app import processes as running

    settings = running.started(load_settings_without_key())

    def announce(facts: Mapping[str, object]) -> None:
        typer.echo(json.dumps(facts))
        sys.stdout.flush()

    running.run(running.simulate(settings, host=host, port=port, speed=speed, announce=announce))


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running afterwards, to try it.")
    ] = False,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times faster than real time.")] = 60,
) -> None:
    """Run the demo: charges start, run and get stopped; about a minute."""
    from app.demo import run_demo

    raise typer.Exit(run_demo(keep=keep, speed=speed))
