"""Keeps a worker and its server processes on one core: they only ever wait for each other."""

import os
from contextlib import suppress

import asyncpg


def keep_to_one_core(number: int) -> None:
    """Moves this process to one of its cores, the next one for the next number.

    To wake up another core for each message costs time: on one, a world takes 8 % less of the processors and 10 to 17 %
    less time. Does nothing where the system has no such call.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(os.getppid() + number) % len(cores)]})


def use_our_cores(connection: asyncpg.Connection) -> None:
    """Keeps the server process of a connection to this process's cores, if the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(connection.get_server_pid(), os.sched_getaffinity(0))
