"""Makes .venv from the hashed lock files, then runs the given command.

Standard library only. This file must parse on old Pythons too: they get a message instead of a traceback.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

if sys.version_info < (3, 11):
    sys.exit(
        "Tapwatt needs Python 3.11 or newer; this is %d.%d (%s). Try: python3.11 run.py"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
if os.name != "posix":
    sys.exit("Tapwatt runs on Linux and macOS; on Windows use WSL.")

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
PY = ENV / "bin" / "python"
STAMP = ENV / ".made-by-run.py"
"""Written last: names the lock that is fully installed. Absent while an installation is under way."""
RUN_LOCK, DEV_LOCK = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
SETUP_WAIT_S = 900

USAGE = """usage: python3 run.py COMMAND ...
  demo [--keep]        a one-minute demo: database, Monta simulator, service, watcher and terminals, live
  test [PYTEST ARGS]   format, lint, types, import contracts, migrations, then the tests
  bench [NAME ...]     measure the service beside the usual way to write one (--quick: two minutes; --help)
  world [--seeds N]    simulated worlds with faults, one from each seed; a seed that breaks a rule prints its story
  mutate [--sample N]  a seeded sample of small defects, planted in a copy: which of them do the tests notice?
  audit [--osv-url U]  compare the lock files with the known vulnerabilities (asks pypi.org, or an OSV service)
  sbom                 write a CycloneDX bill of materials of what runs
  tapwatt ARGS         any command of Tapwatt's own command line (try: python3 run.py tapwatt --help)
  lock [--upgrade]     write both lock files anew from pyproject.toml"""


class SetupError(Exception):
    """The virtual environment could not be made; the text says what to do."""


# --- .venv -------------------------------------------------------------------------------------------------


def base_facts() -> str:
    """Returns what a .venv depends on: Python's minor version and the folder."""
    return f"python {sys.version_info[0]}.{sys.version_info[1]}\nat {ENV}\n"


def stamp_for(lock: Path) -> str:
    return f"{base_facts()}{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}\n"


def stamp_now() -> str:
    """Returns the stamp of a complete .venv whose Python still exists, else an empty string."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return STAMP.read_text(encoding="utf-8") if PY.exists() else ""
    return ""


def ensure(lock: Path) -> None:
    """Makes .venv hold all of `lock`; returns at once when it does. The developers' lock contains the other one."""
    good = {stamp_for(lock), stamp_for(DEV_LOCK)}
    if stamp_now() in good:
        return
    with one_at_a_time():
        if stamp_now() in good:  # another run finished it while we waited
            return
        started = time.monotonic()
        say(f"Setting up .venv from {lock.name} (once) ...")
        if not stamp_now().startswith(base_facts()):
            create_env()
        STAMP.unlink(missing_ok=True)
        install(lock)
        STAMP.write_text(stamp_for(lock), encoding="utf-8")
        say(f"Set up in {time.monotonic() - started:.0f} s.")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Holds .venv.lock, so that two runs never work on the same .venv; the system frees it when we exit."""
    with (ROOT / ".venv.lock").open("a") as handle:
        for attempt in range(SETUP_WAIT_S * 5):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if attempt == 0:
                say("Another run is setting up .venv; waiting for it ...")
            time.sleep(0.2)
        else:
            raise SetupError("Another run has been setting up .venv for 15 minutes. End it, then try again.")
        yield


def create_env() -> None:
    """Creates an empty .venv in place of one that is missing, incomplete, moved, or of another Python."""
    if ENV.is_symlink() or ENV.is_file():
        ENV.unlink()
    elif ENV.exists():
        say("(the .venv that is there is incomplete or was made elsewhere: making it anew)")
        shutil.rmtree(ENV)
    failure = ""
    for extra in ([], ["--without-pip"]):  # Debian without python3-venv has no ensurepip
        done = run(base_python(), "-m", "venv", "--clear", *extra, ENV)
        if done.returncode == 0:
            return
        failure = failure or everything_said(done)
    raise SetupError(
        f"{base_python()} -m venv failed:\n{failure}\nOn Debian and Ubuntu: apt install python3-venv"
    )


def base_python() -> str:
    """Returns the interpreter outside of any virtual environment: we may be about to remove the current one."""
    return getattr(sys, "_base_executable", None) or sys.executable


def install(lock: Path) -> None:
    """Installs exactly what the lock names, every file checked against its hash: by uv, else by pip."""
    pip = pip_command()
    for uv in uv_commands(pip):
        command = [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(PY), *only_hashed(lock)]
        done = run(*command, env=uv_env(pip))
        if done.returncode == 0:
            return
    if pip is None:
        raise SetupError(f"{base_python()} has no pip. On Debian and Ubuntu: apt install python3-pip")
    done = pip_install(pip, lock)
    if done.returncode:
        said = everything_said(done)
        raise SetupError(f"{said}\nInstalling {lock.name} failed. Is the package index reachable?")


def only_hashed(requirements: Path) -> list[str]:
    return ["--require-hashes", "-r", str(requirements)]


def pip_command() -> list[str] | None:
    """Returns the pip for .venv: its own, else the interpreter's (from 22.3 on it can target another one)."""
    for pip in ([str(PY), "-m", "pip"], [base_python(), "-m", "pip", "--python", str(PY)]):
        if run(*pip, "--version").returncode == 0:
            return pip
    return None


def pip_install(pip: list[str], requirements: Path) -> "subprocess.CompletedProcess[str]":
    return run(*pip, "install", "-q", "--no-input", *only_hashed(requirements), env=pip_env())


def uv_commands(pip: list[str] | None) -> Iterator[list[str]]:
    """Yields commands for uv, which is much faster than pip: the one on the PATH, else the one the lock pins."""
    installed = shutil.which("uv")
    if installed:
        yield [installed]
    if pip:
        wanted = ENV / "uv-requirements.txt"
        wanted.write_text(pinned_block("uv", DEV_LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        if pip_install(pip, wanted).returncode == 0:
            yield [str(PY), "-m", "uv"]


def pinned_block(package: str, lock: str) -> str:
    """Returns the lines of one package in the text of a lock: its version and its hashes."""
    found = re.search(rf"^{package}==[^\n]*\n(?:[ ][^\n]*\n)*", lock, re.MULTILINE)
    if found is None:
        raise SetupError(f"{package} is missing in {DEV_LOCK.name}.")
    return found[0]


def pip_env() -> dict[str, str]:
    """Returns the environment without settings that would make pip install elsewhere than into .venv."""
    diverting = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME"}
    kept = {name: value for name, value in os.environ.items() if name not in diverting}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}


def uv_env(pip: list[str] | None) -> dict[str, str]:
    """Returns the environment with pip's index and certificates for uv, which does not read pip's settings."""
    told = run(*pip, "config", "list", env=pip_env()).stdout if pip else ""
    env = dict(os.environ)
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        found = re.findall(rf"^\S+\.{setting}='(.*)'$", told, re.MULTILINE)
        if found:
            env.setdefault(variable, found[-1])
    return env


# --- the commands ------------------------------------------------------------------------------------------


def command_test(args: list[str]) -> NoReturn:
    """Replaces this process with the runner of all checks; `args` go to pytest."""
    ensure(DEV_LOCK)
    os.chdir(ROOT)
    os.execv(PY, [str(PY), "-m", "tests.everything", *args])


def command_world(args: list[str]) -> NoReturn:
    """Replaces this process with the simulated world (tests/world)."""
    ensure(DEV_LOCK)
    os.chdir(ROOT)
    os.execv(PY, [str(PY), "-m", "tests.world", *args])


def command_mutate(args: list[str]) -> NoReturn:
    """Replaces this process with the mutation run (tests/mutation)."""
    ensure(DEV_LOCK)
    os.chdir(ROOT)
    os.execv(PY, [str(PY), "-m", "tests.mutation", *args])


def command_supply_chain(what: str, args: list[str]) -> NoReturn:
    """Replaces this process with the audit, or with the writer of the bill of materials (tests/supply_chain)."""
    ensure(DEV_LOCK)
    os.chdir(ROOT)
    os.execv(PY, [str(PY), "-m", "tests.supply_chain", what, *args])


def command_tapwatt(args: list[str]) -> NoReturn:
    """Replaces this process with Tapwatt's command line."""
    become("app", args)


def command_bench(args: list[str]) -> NoReturn:
    """Replaces this process with the bench (bench/README.md)."""
    become("bench", args)


def become(module: str, args: list[str]) -> NoReturn:
    """Replaces this process with a module of ours; files in `args` are relative to the caller's folder."""
    ensure(RUN_LOCK)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.execve(PY, [str(PY), "-m", module, *args], {**os.environ, "PYTHONPATH": path})


def command_lock(args: list[str]) -> int:
    """Writes both locks, for every Python and system; names, versions and hashes, but no addresses."""
    ensure(DEV_LOCK)
    os.chdir(ROOT)
    compile_lock = [str(PY), "-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11"]
    compile_lock += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header"]
    compile_lock += ["--prerelease", "if-necessary", "--extra", "embedded", "pyproject.toml", *args]
    more = ["--group", "dev", "-c", RUN_LOCK.name]
    return subprocess.call([*compile_lock, "-o", RUN_LOCK.name]) or subprocess.call(
        [*compile_lock, *more, "-o", DEV_LOCK.name]
    )


# --- helpers -----------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs to the end and keeps both outputs; a missing program counts as failed."""
    argv = [str(part) for part in command]
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, env=env, capture_output=True, encoding="utf-8", check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, stdout="", stderr=str(error))


def everything_said(done: "subprocess.CompletedProcess[str]") -> str:
    return f"{done.stdout}\n{done.stderr}".strip()


def command_demo(args: list[str]) -> NoReturn:
    """Replaces this process with the demo; its data folder is within ours."""
    os.chdir(ROOT)
    command_tapwatt(["demo", *args])


COMMANDS = {
    "audit": lambda args: command_supply_chain("audit", args),
    "bench": command_bench,
    "demo": command_demo,
    "lock": command_lock,
    "mutate": command_mutate,
    "sbom": lambda args: command_supply_chain("sbom", args),
    "tapwatt": command_tapwatt,
    "test": command_test,
    "world": command_world,
}


def main() -> int:
    command, *rest = sys.argv[1:] or ["help"]
    if command in COMMANDS:
        return COMMANDS[command](rest)
    say(USAGE)
    return 0 if command in {"help", "-h", "--help"} else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (SetupError, OSError) as error:
        sys.exit(f"run.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
