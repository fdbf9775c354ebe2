"""app/embedded: The embedded PostgreSQL: started, shared, stopped, and its messages when it cannot run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.embedded.cluster import make_ready, read_pid_file
from app.embedded.host import find_host
from tests.postgres import FORGETFUL, ROOT

WAIT_S = 30

USER = """
import sys
from pathlib import Path
from app.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"}) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    shutil.rmtree(find_host(path).home)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster that was never started."""
    host = find_host(tmp_path_factory.mktemp("made"))
    make_ready(host, FORGETFUL)
    yield host.cluster
    shutil.rmtree(host.home)


@pytest.fixture
def not_the_first_start(made: Path, data_dir: Path) -> None:
    """Gives `data_dir` a copy of a cluster, which takes a tenth of the time that making one does."""
    subprocess.run(["cp", "-a", made, find_host(data_dir).cluster], check=True)


class Process:
    """Another process that uses the server of `data_dir` until its standard input ends."""

    def __init__(self, data_dir: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def finish(self) -> None:
        self.popen.communicate(timeout=WAIT_S)

    def kill(self) -> None:
        self.popen.kill()
        self.finish()


@pytest.fixture
def another(data_dir: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(data_dir))
        return started[-1]

    yield start
    for process in started:
        process.kill()
    eventually(lambda: not server_runs(data_dir))


def server_runs(data_dir: Path) -> bool:
    return read_pid_file(find_host(data_dir)) is not None


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.mark.anyio
async def test_it_starts_keeps_its_data_and_leaves_nothing_running(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, FORGETFUL) as server:
        await ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        socket_dir = Path(server.url.partition("host=")[2])
        assert socket_dir.stat().st_mode & 0o077 == 0
    assert not server_runs(data_dir)
    assert not socket_dir.exists()
    with EmbeddedPostgres(data_dir, FORGETFUL) as server:
        assert await ask(server.url, "SELECT answer FROM kept") == 42


@pytest.mark.anyio
async def test_settings_reach_the_server_and_its_text_and_time_are_unambiguous(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, {**FORGETFUL, "max_connections": "17"}) as server:
        assert await ask(server.url, "SHOW max_connections") == "17"
        assert await ask(server.url, "SHOW server_encoding") == "UTF8"
        assert await ask(server.url, "SHOW timezone") == "UTC"
        assert await ask(server.url, "SHOW listen_addresses") == ""


def test_the_url_is_not_given_out_before_the_start(data_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        _ = EmbeddedPostgres(data_dir).url


@pytest.mark.anyio
async def test_a_second_process_joins_and_the_server_outlives_the_first(
    data_dir: Path, another: Callable[[], Process]
) -> None:
    first, second = another(), another()
    url = first.url()
    assert second.url() == url
    first.finish()
    assert await ask(url, "SELECT 1") == 1
    second.finish()
    eventually(lambda: not server_runs(data_dir))


@pytest.mark.usefixtures("not_the_first_start")
@pytest.mark.anyio
async def test_the_starter_does_not_wait_for_others_and_does_not_stop_their_server(
    data_dir: Path, another: Callable[[], Process]
) -> None:
    server = EmbeddedPostgres(data_dir, FORGETFUL).start()
    url = server.url
    other = another()
    assert other.url() == url
    server.stop()
    assert await ask(url, "SELECT 1") == 1
    other.finish()
    eventually(lambda: not server_runs(data_dir))
    server.start()
    server.stop()
    assert not server_runs(data_dir)


@pytest.mark.usefixtures("not_the_first_start")
def test_the_server_ends_when_its_only_user_is_killed(data_dir: Path, another: Callable[[], Process]) -> None:
    user = another()
    socket_dir = Path(user.url().partition("host=")[2])
    user.kill()
    eventually(lambda: not server_runs(data_dir))
    eventually(lambda: not socket_dir.exists())


@pytest.mark.usefixtures("not_the_first_start")
@pytest.mark.anyio
async def test_a_server_that_was_killed_is_started_again(
    data_dir: Path, another: Callable[[], Process]
) -> None:
    user = another()
    user.url()
    running = read_pid_file(find_host(data_dir))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    user.kill()
    with EmbeddedPostgres(data_dir, FORGETFUL) as server:
        assert await ask(server.url, "SELECT 1") == 1


@pytest.mark.usefixtures("not_the_first_start")
@pytest.mark.anyio
async def test_a_pid_file_whose_number_is_another_programs_now_does_not_stop_the_start(
    data_dir: Path,
) -> None:
    EmbeddedPostgres(data_dir, FORGETFUL).start().stop()
    cluster = find_host(data_dir).cluster
    lines = [str(os.getpid()), str(cluster), "0", "5432", "/nowhere", "", "0 0", "ready"]
    (cluster / "postmaster.pid").write_text("\n".join(lines), encoding="ascii")
    with EmbeddedPostgres(data_dir, FORGETFUL) as server:
        assert await ask(server.url, "SELECT 1") == 1


@pytest.mark.usefixtures("not_the_first_start")
def test_data_of_another_major_version_is_refused_with_a_way_out(data_dir: Path) -> None:
    EmbeddedPostgres(data_dir, FORGETFUL).start().stop()
    (find_host(data_dir).cluster / "PG_VERSION").write_text("17\n", encoding="ascii")
    with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 17.*Move the folder away"):
        EmbeddedPostgres(data_dir).start()


@pytest.mark.usefixtures("not_the_first_start")
def test_a_setting_that_the_server_refuses_is_shown_in_its_own_words(data_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(data_dir, {"no_such_setting": "1"}).start()
    assert not server_runs(data_dir)


def test_a_data_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    with pytest.raises(EmbeddedPostgresError, match="TAPWATT_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_an_interrupted_first_start_is_made_good_by_the_next(data_dir: Path) -> None:
    draft = find_host(data_dir).home / "cluster.new"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18\n", encoding="ascii")
    EmbeddedPostgres(data_dir, FORGETFUL).start().stop()
    assert not draft.exists()


@pytest.mark.usefixtures("not_the_first_start")
def test_a_stopped_server_can_be_deleted_with_its_data(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, FORGETFUL).start()
    server.stop()
    server.delete()
    assert not find_host(data_dir).cluster.exists()
