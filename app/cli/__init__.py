"""The command line: `tapwatt`, or `python -m app`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from app import lean_imports as lean_imports  # before all other imports of ours
from app.embedded import EmbeddedPostgresError
from app.settings import SettingsWrong
from app.store.db.database import DATABASE_ERRORS
from app.store.db.secret_box import SecretUnreadable
from app.store.db.suitability import DatabaseUnsuitable, explain
from app.tracing import TracingUnavailable
from app.wiring import NotMigrated

if TYPE_CHECKING:
    import typer


def every_command() -> "typer.Typer":
    """The whole command line."""
    import typer

    from app.cli import (
        attention,
        doctor,
        endpoints,
        keys,
        orphans,
        policies,
        processes,
        reconciliation,
        secret_key,
        sessions,
        tariffs,
        terminals,
    )
    from app.cli.records import charges, evidence, outages, personal_data

    app = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, help="Card payment at EV chargers on Monta."
    )
    app.add_typer(processes.app)
    app.add_typer(policies.operator_app, name="operator")
    app.add_typer(terminals.terminal_app, name="terminal")
    app.add_typer(tariffs.tariff_app, name="tariff")
    app.add_typer(endpoints.endpoint_app, name="endpoint")
    app.add_typer(keys.ops_key_app, name="ops-key")
    app.add_typer(secret_key.secret_key_app, name="secret-key")
    app.add_typer(sessions.app)
    app.add_typer(attention.app)
    app.add_typer(doctor.app)
    app.add_typer(personal_data.app, name="session")
    app.add_typer(reconciliation.app)
    app.add_typer(outages.app)
    app.add_typer(charges.app)
    app.add_typer(evidence.evidence_app, name="evidence")
    app.add_typer(orphans.app)
    app.add_typer(orphans.orphan_app, name="orphan")
    return app


KNOWN_ERRORS = (
    *(SettingsWrong, EmbeddedPostgresError, SecretUnreadable, NotMigrated, DatabaseUnsuitable),
    TracingUnavailable,
)


def known_errors() -> tuple[type[Exception], ...]:
    """Errors of every command that are reported as one message."""
    from app.flows.admin import check_setup, manage_keys, manage_operators, manage_terminals, provision
    from app.flows.context import OperatorUnknown
    from app.flows.events import manage_endpoints
    from app.flows.make_key import TerminalUnknown

    return (
        *KNOWN_ERRORS,
        OperatorUnknown,
        TerminalUnknown,
        manage_terminals.TerminalInUse,
        manage_terminals.ChangeRefused,
        manage_terminals.NamesTaken,
        check_setup.SiteUnusable,
        manage_endpoints.EndpointUnknown,
        manage_endpoints.EndpointRefused,
        manage_keys.KeyUnknown,
        manage_keys.KeyRefused,
        manage_operators.OperatorInUse,
        provision.SecretJustChanged,
        check_setup.EveryStartWouldFail,
        provision.ChargePointNotKnown,
        provision.TariffExpired,
    )


def _check_encoding(arguments: Sequence[str]) -> None:
    """Refuses arguments that are not UTF-8, as no id or name is. Files may have any name."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            if not Path(argument.partition("=")[2] or argument).exists():
                from app.cli.common import ExitStatus, fail

                fail(
                    f"Argument {number} is not UTF-8. Type it anew, or set the terminal to UTF-8.",
                    ExitStatus.USAGE,
                )


def main() -> None:
    """Runs a command. What runs for weeks imports no other command, whose modules would stay in its memory."""
    _check_encoding(sys.argv[1:])
    if sys.argv[1:] == ["watch"]:
        from app.processes import run_watcher

        _run(run_watcher, KNOWN_ERRORS)  # without typer, which reads options with pydantic: 10 MB
    elif sys.argv[1:2] == ["serve"]:
        from app.cli import processes

        _run(processes.app, KNOWN_ERRORS)
    else:
        _run(every_command(), known_errors())


def _run(command: Callable[[], object], known: tuple[type[Exception], ...]) -> None:
    """Reports a known error as one message with exit status 1. A wrong argument is typer's, with status 2."""
    try:
        command()
    except KeyboardInterrupt:
        from app.cli.common import ExitStatus

        raise SystemExit(ExitStatus.INTERRUPTED) from None
    except known as error:
        _fail(str(error))
    except DATABASE_ERRORS as error:
        _fail(f"The database cannot be used. {explain(error)}")


def _fail(message: str) -> NoReturn:
    from app.cli.common import fail

    fail(message)
