"""F82: all reads use the one engine, which is connected to the writable host."""

import re
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app"
OPENS = re.compile(r"\b(?:create_async_engine|create_engine|create_pool|asyncpg\.connect)\(")


def test_F82_connections_are_opened_by_the_stores_one_engine_only() -> None:
    sources = {
        path.relative_to(APP).as_posix(): path.read_text(encoding="utf-8") for path in APP.rglob("*.py")
    }
    opening = {name for name, source in sources.items() if OPENS.search(source)}
    assert opening == {"store/db/connect.py"}
    users = {name for name, source in sources.items() if re.search(r"\bWritableHost\(", source)}
    assert users == {"store/db/database.py", "store/db/roles.py"}, "the owner lets the service's user in"
    listening = {name for name, source in sources.items() if re.search(r"\b_?host\.connect\(", source)}
    assert listening == {"store/db/database.py", "store/db/listener.py"}, (
        "the listener only hears, it reads nothing"
    )
    assert not re.search(r"\bfetch|\bFROM\b", sources["store/db/listener.py"])


def test_nothing_in_the_service_uses_the_engine_or_the_sessions_of_sqlalchemy() -> None:
    others = re.compile(r"sqlalchemy\.(?:ext\.asyncio|orm|engine|pool|exc)\b")
    assert [p for p in APP.rglob("*.py") if others.search(p.read_text(encoding="utf-8"))] == []
