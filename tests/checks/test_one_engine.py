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
    assert opening == {"store/db/database.py", "store/db/connect.py"}
    assert len(OPENS.findall(sources["store/db/database.py"])) == 1
    users = {name for name, source in sources.items() if re.search(r"import .*WritableHost", source)}
    assert users == {"store/db/database.py", "store/db/listener.py", "store/db/schema.py"}, (
        "the listener only hears, it reads nothing"
    )
    assert not re.search(r"\bfetch|\bFROM\b", sources["store/db/listener.py"])
