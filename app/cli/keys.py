"""Commands about API keys of terminals and of operations. Add, list, change, revoke, remove."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from app.cli.common import AsJson, check_text, fail, one_of, print_facts, say, with_context
from app.cli.output.tables import facts_table
from app.domain.units.ids import KeyId, OperatorId, TerminalId
from app.flows.admin import manage_keys, queries
from app.flows.admin.manage_terminals import require
from app.flows.context import Context
from app.flows.make_key import AddedKey, KeyTerms
from app.settings import load_settings
from app.store.operators.keys import ApiKey, KeyKind, Role

terminal_key_app = typer.Typer(no_args_is_help=True, help="Keys of one terminal; several may be valid.")
ops_key_app = typer.Typer(no_args_is_help=True, help="Keys for operations.")

ExpiresIn = Annotated[
    int | None,
    typer.Option(
        "--expires-in", metavar="DAYS", min=1, max=3650, help="Days until it expires; without it, never."
    ),
]
TerminalArgument = Annotated[
    str | None, typer.Argument(metavar="TERMINAL", help="The terminal's id, trm_...; or give --terminal.")
]
OptionalTerminal = Annotated[
    str | None, typer.Option("--terminal", help="The terminal's id, as the argument.")
]
KeyName = Annotated[str, typer.Option("--name", help="For people; journals name it.")]
NewName = Annotated[str | None, typer.Option("--name", help="For people; journals name it.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as `list` shows it.")]


def terms(name: str, expires_in: int | None) -> KeyTerms:
    """Checks a new key's name. Exits with a message when it is no text."""
    check_text("--name", name)
    return KeyTerms(name=name, expires_in=None if expires_in is None else timedelta(days=expires_in))


@terminal_key_app.command("add")
def terminal_key_add(
    terminal: TerminalArgument = None,
    named: OptionalTerminal = None,
    *,
    name: KeyName = "further",
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Add one more key to a terminal. The others stay valid, and its sessions are the same."""
    wanted, owner = terms(name, expires_in), TerminalId(one_of("terminal", terminal, named))
    added = with_context(
        load_settings(), lambda context: manage_keys.add_terminal_key(context, owner, wanted)
    )
    print_facts(as_json, terminal_id=added.id, key_id=added.key_id, api_key=added.api_key, **until(added))


@terminal_key_app.command("list")
def terminal_key_list(
    terminal: TerminalArgument = None, named: OptionalTerminal = None, as_json: AsJson = False
) -> None:
    """List a terminal's keys, and when and from where each was last used."""
    owner = TerminalId(one_of("terminal", terminal, named))

    async def find(context: Context) -> list[dict[str, str | None]]:
        found = await manage_keys.list_keys(context, KeyKind.TERMINAL, terminal_id=owner)
        return _rows(found, context.clock.now())

    _print_rows(as_json, with_context(load_settings(), find))


@terminal_key_app.command("set")
def terminal_key_set(
    key: KeyArgument, name: NewName = None, expires_in: ExpiresIn = None, as_json: AsJson = False
) -> None:
    """Change a terminal key's name or expiry; the key itself stays the same."""
    if name is None and expires_in is None:
        fail("Nothing to set: give --name or --expires-in.")
    _set(KeyId(key), KeyKind.TERMINAL, name, expires_in, as_json=as_json)


@terminal_key_app.command("revoke")
def terminal_key_revoke(key: KeyArgument, as_json: AsJson = False) -> None:
    """Revoke a terminal's key: every replica refuses it within a second."""
    _revoke(KeyId(key), KeyKind.TERMINAL, as_json=as_json)


@ops_key_app.command("add")
def ops_key_add(
    *,
    operator: Annotated[
        str | None,
        typer.Option("--operator", help="The operator it sees; may be left out where there is one only."),
    ] = None,
    all_operators: Annotated[
        bool, typer.Option("--all-operators", help="See every operator, also those added later.")
    ] = False,
    role: Annotated[
        Role, typer.Option(help="read: see only. operate: also stop, settle, close.")
    ] = Role.OPERATE,
    name: KeyName = "operations",
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for operations. It sees one operator, unless all are asked for."""
    if operator is not None and all_operators:
        fail("--operator and --all-operators contradict each other.")
    wanted = terms(name, expires_in)

    async def add(context: Context) -> AddedKey:
        owner = OperatorId(operator) if operator is not None else None
        if owner is None and not all_operators:
            owner = await _only_operator(context)
        return await manage_keys.add_ops_key(context, owner, role=role, terms=wanted)

    added = with_context(load_settings(), add)
    print_facts(as_json, ops_key_id=added.id, api_key=added.api_key, **until(added))


async def _only_operator(context: Context) -> OperatorId:
    known = (await queries.summary(context, None)).operators
    if len(known) != 1:
        fail(
            f"There are {len(known)} operators: say which one this key sees with --operator OP, or give"
            " --all-operators. `tapwatt operator list` shows them."
        )
    return known[0].id


@ops_key_app.command("list")
def ops_key_list(
    operator: Annotated[str | None, typer.Option("--operator", help="Those of this operator only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List operations keys, and when and from where each was last used."""
    owner = OperatorId(operator) if operator else None

    async def find(context: Context) -> list[dict[str, str | None]]:
        await require(context, owner)
        found = await manage_keys.list_keys(context, KeyKind.OPS, operator_id=owner)
        return _rows(found, context.clock.now())

    _print_rows(as_json, with_context(load_settings(), find))


@ops_key_app.command("show")
def ops_key_show(key: KeyArgument, as_json: AsJson = False) -> None:
    """Show one operations key, never its secret."""

    async def find(context: Context) -> dict[str, str | None]:
        found = await manage_keys.key_of(context, KeyId(key), KeyKind.OPS)
        return _row(found, context.clock.now())

    print_facts(as_json, **with_context(load_settings(), find))


@ops_key_app.command("set")
def ops_key_set(
    key: KeyArgument,
    *,
    name: NewName = None,
    role: Annotated[Role | None, typer.Option(help="read: see only. operate: also act.")] = None,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Change an operations key's name, role or expiry; the key itself stays the same."""
    if name is None and role is None and expires_in is None:
        fail("Nothing to set: give --name, --role or --expires-in.")
    _set(KeyId(key), KeyKind.OPS, name, expires_in, role=role, as_json=as_json)


@ops_key_app.command("revoke")
def ops_key_revoke(key: KeyArgument, as_json: AsJson = False) -> None:
    """Revoke an operations key: every replica refuses it within a second."""
    _revoke(KeyId(key), KeyKind.OPS, as_json=as_json)


@ops_key_app.command("remove")
def ops_key_remove(key: KeyArgument, as_json: AsJson = False) -> None:
    """Remove an operations key that was never used; revoke any other."""
    with_context(load_settings(), lambda context: manage_keys.remove_ops_key(context, KeyId(key)))
    print_facts(as_json, removed=key)


def until(added: AddedKey) -> dict[str, str]:
    """The expiry of a new key, where it has one."""
    return {} if added.expires_at is None else {"expires_at": added.expires_at.isoformat()}


def _set(
    key_id: KeyId,
    kind: KeyKind,
    name: str | None,
    expires_in: int | None,
    *,
    role: Role | None = None,
    as_json: bool,
) -> None:
    if name is not None:
        check_text("--name", name)
    expiry = None if expires_in is None else timedelta(days=expires_in)

    async def change(context: Context) -> dict[str, str | None]:
        changed = await manage_keys.set_key(context, key_id, kind, name=name, role=role, expires_in=expiry)
        return _row(changed, context.clock.now())

    print_facts(as_json, **with_context(load_settings(), change))


def _revoke(key_id: KeyId, kind: KeyKind, *, as_json: bool) -> None:
    revoked = with_context(load_settings(), lambda context: manage_keys.revoke_key(context, key_id, kind))
    print_facts(as_json, key_id=revoked.id, revoked_at=_time(revoked.revoked_at))


def _rows(found: Sequence[ApiKey], now: datetime) -> list[dict[str, str | None]]:
    return [_row(key, now) for key in found]


def _row(key: ApiKey, now: datetime) -> dict[str, str | None]:
    owner = {"terminal_id": key.terminal_id} if key.kind is KeyKind.TERMINAL else {"role": key.role}
    state = "revoked" if key.revoked_at else "valid" if key.is_valid(now) else "expired"
    return {
        "key_id": key.id,
        "name": key.name,
        "operator_id": key.operator_id,
        **owner,
        "state": state,
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "last_used_at": _time(key.last_used_at),
        "last_used_from": key.last_used_from,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _print_rows(as_json: bool, rows: list[dict[str, str | None]]) -> None:
    shown = ("key_id", "name", "role", "operator_id", "state", "expires_at", "last_used_at", "last_used_from")
    say(json.dumps({"data": rows}) if as_json else facts_table(rows, shown, empty="No keys."))
