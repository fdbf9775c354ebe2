"""Plays all stories at once, and checks the accounts. It watches them until the end."""

import asyncio
from collections.abc import Coroutine, Sequence

import httpx

from app.demo.audit import Account, MontaBooks
from app.demo.interrupts import DemoFailed, Interrupts
from app.demo.processes import Processes
from app.demo.screen import Screen
from app.demo.setup import Installation
from app.demo.stories import Story
from app.demo.terminals import CALL_S, Api, Bank, Terminal

LONGEST_S = 3 * 3600
"""Upper bound of a story in seconds of the demo's clock. A slow machine gets SLACK_S more of real time."""
SLACK_S = 60.0
LOOK_S = 0.2


def perform(
    installation: Installation, screen: Screen, stories: Sequence[Story], speed: float, interrupts: Interrupts
) -> list[Account]:
    """Plays to the end and returns each story's account. Raises DemoFailed, Interrupted."""

    async def run() -> list[Account]:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None, "asyncio.run makes one"
        with interrupts.handled_by(lambda: loop.call_soon_threadsafe(task.cancel)):
            try:
                return await _perform(installation, screen, stories, speed)
            except asyncio.CancelledError:
                return []  # the signal that cancelled us is raised here, at the end of the block

    return asyncio.run(run())


async def _perform(
    installation: Installation, screen: Screen, stories: Sequence[Story], speed: float
) -> list[Account]:
    limits = httpx.Limits(max_connections=4 * len(stories))
    async with httpx.AsyncClient(timeout=CALL_S, trust_env=False, limits=limits) as http:
        api, bank = Api(http, installation), Bank()
        terminals = [Terminal(api, bank, n, speed, screen.update) for n, _ in enumerate(stories, start=1)]
        plays = [terminal.play(story) for terminal, story in zip(terminals, stories, strict=True)]
        with screen.showing():
            ids = await _watched(installation.processes, screen, plays, LONGEST_S / speed + SLACK_S)
        books = MontaBooks(http, installation)
        return [
            Account(
                story=story,
                session=await api.session(session_id),
                journal=await api.journal(session_id),
                captures=await api.captures(session_id),
                charges=await books.charges_of(session_id),
                still_held=bank.held[terminal.reference],
            )
            for story, session_id, terminal in zip(stories, ids, terminals, strict=True)
        ]


async def _watched(
    processes: Processes, screen: Screen, plays: Sequence[Coroutine[None, None, str]], limit_s: float
) -> list[str]:
    """Runs all plays to their end, within bounds. It ends earlier when one fails, a process ends or time is up."""
    playing = asyncio.ensure_future(_together(plays))
    beside = [asyncio.ensure_future(work) for work in (_look_after(processes), screen.keep_drawing())]
    everything: list[asyncio.Task[list[str]] | asyncio.Task[None]] = [playing, *beside]
    try:
        await asyncio.wait(everything, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in beside:  # first: a process that ended explains all other failures
            if task.done():
                task.result()
        if not playing.done():
            raise DemoFailed(f"The sessions were not over after {limit_s:.0f} s.")
        return playing.result()
    finally:
        for each in everything:
            each.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _together(plays: Sequence[Coroutine[None, None, str]]) -> list[str]:
    return await asyncio.gather(*plays)


async def _look_after(processes: Processes) -> None:
    """Raises DemoFailed as soon as a process has ended."""
    while True:
        processes.check()
        await asyncio.sleep(LOOK_S)
