"""What crosses a layer: values and names of the domain, never SQL, HTTP paths, transactions or another clock."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from app.api.http.problems import ANSWERS
from app.monta.webhook import DELIVERY_PATH
from tests.checks.sources import modules, nodes, tree_of
from tests.postgres import ROOT

SQL_TYPES = re.compile(r"\b(ColumnElement|Condition|Select|Table|Column|RowMapping|Row|ReturningUpdate)\b")
SQL_PARAMETERS = {"column", "columns", "condition", "conditions", "where"}
HTTP_PATH = re.compile(
    r"/(v1|health|metrics|charges|charge-points|charge-transactions|consumers|auth|price-groups|webhooks)\b"
)
HTTP_FOLDERS = {
    "app/api/": "our endpoints",
    "app/monta/": "Monta's endpoints",
    "app/simulator/": "serves Monta's endpoints",
    "app/demo/": "plays the terminals, a client of our endpoints",
    "app/console/": "the console's pages",
    "app/main.py": "assembles the endpoints",
}


@cache
def _sources() -> dict[str, ast.Module]:
    """Each module of `app` by its path, parsed when the first test asks: every worker imports this file."""
    return {path.relative_to(ROOT).as_posix(): tree_of(path) for path in modules("app")}


def _outside(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    return ((path, tree) for path, tree in _sources().items() if not path.startswith(folders))


def _speaks_sql(function: ast.AST) -> bool:
    """Whether SQLAlchemy's values, or names of columns, go in or come out."""
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *(a for a in (given.vararg,) if a)]
    types = [a.annotation for a in every if a.annotation] + ([function.returns] if function.returns else [])
    return any(a.arg in SQL_PARAMETERS for a in every) or any(SQL_TYPES.search(ast.unparse(t)) for t in types)


def _sql_functions() -> set[str]:
    trees = [tree for path, tree in _sources().items() if path.startswith("app/store/")]
    return {node.name for tree in trees for node in tree.body if _speaks_sql(node)}  # type: ignore[attr-defined]


def _used_of_the_store(tree: ast.Module) -> Iterator[str]:
    """Names that a module takes from the store, directly or as `module.name`."""
    imports = nodes(tree, ast.ImportFrom)
    taken = {
        a.asname or a.name: a.name
        for n in imports
        if (n.module or "").startswith("app.store")
        for a in n.names
    }
    yield from taken.values()
    for node in nodes(tree, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in taken:
            yield node.attr


def test_no_columns_and_no_conditions_leave_the_store() -> None:
    speaking = _sql_functions()
    assert "conditions" in speaking, "the check sees the store's own"
    for path, tree in _outside("app/store/"):
        assert not speaking & set(_used_of_the_store(tree)), path
        imports = nodes(tree, ast.ImportFrom)
        assert not any((n.module or "").startswith("app.store.tables") for n in imports), path


def _texts(tree: ast.Module) -> Iterator[str]:
    return (n.value for n in nodes(tree, ast.Constant) if isinstance(n.value, str))


def test_http_paths_are_known_to_the_packages_that_serve_or_call_them_only() -> None:
    for path, tree in _outside(*HTTP_FOLDERS):
        assert not [text for text in _texts(tree) if HTTP_PATH.match(text)], path


def test_monta_knows_one_path_of_ours_the_one_that_it_is_given() -> None:
    ours = {
        text for path, tree in _sources().items() if path.startswith("app/monta/") for text in _texts(tree)
    }
    assert {text for text in ours if text.startswith("/v1/")} == {DELIVERY_PATH}


TRANSACTIONS = {
    "app/flows/": "use cases begin and end them",
    "app/monta_access.py": "tokens and the budget of calls are shared between a flow's transactions, never within one",
}


def _calls(tree: ast.Module, method: str) -> list[ast.Call]:
    return [n for n in nodes(tree, ast.Call) if isinstance(n.func, ast.Attribute) and n.func.attr == method]


def test_transactions_begin_and_end_in_flows_only() -> None:
    for path, tree in _outside(*TRANSACTIONS):
        assert not _calls(tree, "transaction"), path
        # One statement that commits by itself; the database hands it to its connection.
        assert path == "app/store/db/database.py" or not _calls(tree, "single"), path


CLOCKS = {
    "app/clock.py": "the one place",
    "app/api/http/live.py": "seconds of the loop that holds an open connection, as asyncio.timeout measures them",
}
READS_A_CLOCK = re.compile(
    r"\b(datetime\.(now|utcnow|today)|date\.today|loop\.time"
    r"|time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|clock_gettime|gmtime|localtime))$"
)
DATABASE_CLOCK = re.compile(
    r"\b(func\.now$|now\(\)|(clock|statement|transaction|current)_timestamp\b)", re.IGNORECASE
)


def _dotted(tree: ast.Module) -> Iterator[str]:
    return (ast.unparse(n) for n in nodes(tree, ast.Attribute))


def test_the_clock_is_read_in_one_place() -> None:
    for path, tree in _outside(*CLOCKS):
        assert not [name for name in _dotted(tree) if READS_A_CLOCK.search(name)], path
        late = [n for n in nodes(tree, ast.ImportFrom) if n.module == "time"]
        assert not late, f"{path}: `from time import ...` would hide a reading"


def _names(call: ast.Call, word: str) -> bool:
    """Whether this is the name that is called, `word` or `module.word`."""
    return word == getattr(call.func, "attr", getattr(call.func, "id", None))


def test_frozen_dataclasses_are_made_by_the_one_that_takes_less_time() -> None:
    for path, tree in _sources().items():
        calls = [ast.unparse(node) for node in nodes(tree, ast.Call) if _names(node, "dataclass")]
        assert not [call for call in calls if re.match(r"(dataclasses\.)?dataclass\(.*frozen=True", call)], (
            path
        )


def test_records_are_copied_by_the_replace_that_takes_less_time() -> None:
    taken = {
        path
        for path, tree in _sources().items()
        for node in nodes(tree, ast.ImportFrom)
        if node.module == "dataclasses" and "replace" in {each.name for each in node.names}
    }
    assert taken == {"app/domain/units/frozen.py"}, "take it from app.domain.units.frozen"


def test_the_databases_clock_is_read_where_ours_is_set_by_it_only() -> None:
    for path, tree in _sources().items():
        if path.startswith("app/store/"):
            read = [text for text in (*_dotted(tree), *_texts(tree)) if DATABASE_CLOCK.search(text)]
            assert bool(read) == (path == "app/store/health.py"), (path, read)


NOT_ANSWERED = {
    "StillNeeded": "of a command",
    "LeaseLost": "the watcher's",
    "StopIsDue": "the watcher's",
    "OperatorMissing": "the watcher's",
    "AuthorizeRefused": "each of its kinds has its row",
    "TopUpRefused": "each of its kinds has its row",
    "EveryStartWouldFail": "the command line's",
    "OperatorUnknown": "the command line's",
    "TerminalUnknown": "the command line's",
    "KeyUnknown": "the command line's",
    "KeyRefused": "the command line's",
    "OperatorInUse": "the command line's",
    "TerminalInUse": "the command line's",
    "NamesTaken": "the command line's",
    "ChangeRefused": "the command line's",
    "SiteUnusable": "the command line's",
    "SecretJustChanged": "the command line's",
    "TariffExpired": "the command line's",
    "ChargePointNotKnown": "the command line's",
    "EndpointUnknown": "the command line's",
    "EndpointRefused": "the command line's",
    "NotOurs": "the reconciliation's own",
}


def _exceptions_of_flows() -> set[str]:
    trees = [tree for path, tree in _sources().items() if path.startswith("app/flows/")]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    known = {"Exception"}
    while more := {c.name for c in classes if known & {ast.unparse(b) for b in c.bases}} - known:
        known |= more
    return {name for name in known - {"Exception"} if not name.startswith("_")}


def test_one_table_answers_every_exception_of_the_flows() -> None:
    answered = {kind.__name__ for kind in ANSWERS if kind.__module__.startswith("app.flows.")}
    assert _exceptions_of_flows() == answered | set(NOT_ANSWERED)
    assert not answered & set(NOT_ANSWERED)


def test_routes_catch_nothing_but_the_database_that_readiness_asks_about() -> None:
    routes = {path: tree for path, tree in _sources().items() if path.startswith("app/api/routes/")}
    catching = {path for path, tree in routes.items() if nodes(tree, ast.Try)}
    assert catching == {"app/api/routes/health.py"}


def test_a_session_is_saved_with_its_events_and_in_no_other_way() -> None:
    savers = {
        path
        for path, tree in _sources().items()
        for name in ("save", "save_all")
        if any(ast.unparse(call.func) == f"payment_sessions.{name}" for call in _calls(tree, name))
    }
    assert savers == {"app/flows/saving.py"}
