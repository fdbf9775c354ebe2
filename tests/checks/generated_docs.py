"""Generates the parts of docs that come from tables in the code: `python -m tests.checks.generated_docs`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from app.api.http.problems import KINDS as PROBLEMS
from app.domain.session.attention import CODES, SEVERITIES
from app.domain.session.machine import TRANSITIONS
from app.domain.session.payment_session import ENDED_STATUSES, Status
from app.domain.session.states.journal import KINDS
from app.domain.session.states.phases import GROUP_MOVES, PHASES, WITH_CHARGE, WITHOUT_CHARGE, Phase
from tests.checks import runbook

DOCS = Path(__file__).resolve().parents[2] / "docs"
ARCHITECTURE, JOURNAL, RUNBOOK = DOCS / "architecture.md", DOCS / "journal.md", DOCS / "runbook.md"
TERMINAL_API = DOCS / "terminal-api.md"
PARTS = {ARCHITECTURE: "state machine", TERMINAL_API: "error codes"}
"""Pages that are generated in part, between two marks of this name."""
COMMAND = "`python -m tests.checks.generated_docs`"


def diagram() -> Iterator[str]:
    """The statuses and commands as a Mermaid diagram."""
    yield from ("```mermaid", "stateDiagram-v2", f"    [*] --> {Status.AUTHORIZED}")
    edges: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        edges.setdefault((row.status, row.to), []).append(row.command)
    for (status, to), commands in edges.items():
        yield f"    {status} --> {to}: {', '.join(commands)}"
    yield from (f"    {status} --> [*]" for status in Status if status in ENDED_STATUSES)
    yield "```"


GROUPS = {WITHOUT_CHARGE: "without_charge", WITH_CHARGE: "with_charge", (Phase.ENDED,): str(Phase.ENDED)}


def phase_diagram() -> Iterator[str]:
    """The phases as a Mermaid diagram; what every phase of a group has in common is drawn once."""
    yield from ("```mermaid", "stateDiagram-v2", f"    [*] --> {GROUPS[WITHOUT_CHARGE]}")
    for group in (WITHOUT_CHARGE, WITH_CHARGE):
        yield f"    state {GROUPS[group]} {{"
        yield from (f"        [*] --> {phase}" for phase in group if phase is Phase.READY)
        for phase in group:
            yield from (f"        {phase} --> {to}: {why}" for to, why in PHASES[phase].then.items())
        yield "    }"
    yield from (f"    {GROUPS[a]} --> {GROUPS[b]}: {why}" for (a, b), why in GROUP_MOVES.items())
    yield from (f"    {Phase.ENDED} --> [*]", "```")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table; cells hold no vertical bars."""
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def plain(words: Iterable[str]) -> str:
    return ", ".join(word.replace("_", " ") for word in words)


def state_machine() -> Iterator[str]:
    """Both tables of the state machine, each with its diagram."""
    yield f"Generated from `app/domain/session/machine.py` and `app/domain/session/states/phases.py` by {COMMAND}."
    yield ""
    yield from diagram()
    yield ""
    yield from table(
        ("status", "command", "becomes", "issued by", "because"),
        ([f"`{r.status}`", f"`{r.command}`", f"`{r.to}`", plain(r.issuers), r.cause] for r in TRANSITIONS),
    )
    yield ""
    yield "A status is what terminals see. The next step depends on the phase, which is derived (`phase_of`) and never"
    yield "stored; `NEXT` in `app/domain/session/next_step.py` has one function for each. The watcher makes every step."
    yield ""
    yield from phase_diagram()
    yield ""
    yield from table(
        ("phase", "status", "holds when", "led to by", "what the watcher does", "steps"),
        (
            [
                f"`{phase}`",
                codes(r.statuses),
                r.holds,
                plain(r.issuers),
                r.does,
                codes(s.__name__ for s in r.steps),
            ]
            for phase, r in PHASES.items()
        ),
    )
    yield from ("", "What the journal records, and when operations should act: [journal.md](journal.md).")


def journal() -> Iterator[str]:
    """The page of journal kinds and attention codes."""
    yield "# Journal and attention"
    yield ""
    yield f"Generated from `app/domain/session/states/journal.py` and `app/domain/session/attention.py` by {COMMAND}."
    yield ""
    yield "## Attention codes"
    yield ""
    yield "An attention item asks operations to look at a session. Show it with `tapwatt session show ID`, and record"
    yield "that it was seen with `tapwatt session acknowledge ID CODE`."
    yield ""
    yield from (f"- `{severity}`: {soon}" for severity, soon in SEVERITIES.items())
    yield ""
    yield from table(
        ("code", "severity", "what is wrong", "what to do", "closes"),
        ([f"`{code}`", row.severity, row.meaning, row.action, row.closes] for code, row in CODES.items()),
    )
    yield from ("", "## Journal kinds", "")
    yield "Each line of a session's journal is a fact, a decision or a call: time, kind, source and detail. Times are"
    yield "UTC, amounts in minor units, energy in watt-hours. An intent is written before its call, the outcome after."
    yield "Lines of a terminal or of operations also say who acted: `by` (the id of an API key, or `command line`) and"
    yield "`by_name` (the key's name)."
    yield ""
    yield from table(
        ("kind", "what it records", "detail"),
        (
            [f"`{kind}`", row.records, codes(row.detail.split(", ")) if row.detail else ""]
            for kind, row in KINDS.items()
        ),
    )


def error_codes() -> Iterator[str]:
    """The codes of all problems that the API answers with."""
    yield f"Every code; `retryable` says whether the same call may succeed later. Generated by {COMMAND}."
    yield ""
    yield from table(
        ("code", "status", "what is wrong", "retryable"),
        (
            [f"`{code}`", str(kind.status), kind.title, "yes" if kind.retryable else "no"]
            for code, kind in PROBLEMS.items()
        ),
    )


def marks(page: Path) -> tuple[str, str]:
    return f"<!-- {PARTS[page]}: begin -->", f"<!-- {PARTS[page]}: end -->"


def _with_part(page: Path, generated: Iterable[str]) -> str:
    begin, end = marks(page)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([f"{before}{begin}", *generated, f"{end}{after}"])


def expected() -> dict[Path, str]:
    """Each page as it should be; of some only what is between the marks is generated."""
    return {
        ARCHITECTURE: _with_part(ARCHITECTURE, state_machine()),
        TERMINAL_API: _with_part(TERMINAL_API, error_codes()),
        JOURNAL: "\n".join(journal()) + "\n",
        RUNBOOK: "\n".join(runbook.page(COMMAND)) + "\n",
    }


if __name__ == "__main__":
    for path, text in expected().items():
        path.write_text(text, encoding="utf-8")
