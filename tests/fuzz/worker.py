"""A process that answers inputs, and its owner, who starts another one when it is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import traceback
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from fuzz.findings import Finding

_WALL_SECONDS = 90.0
"""A process that gives no answer for so long waits for something. Processor time is limited by the process itself."""
_START_SECONDS = 300.0


def _serve(link: Connection, kit: Path) -> None:
    """Answer (campaign, data) with True or False, accepted or not, or with a `Finding`."""
    from fuzz.campaigns import CAMPAIGNS
    from fuzz.sandbox import Sandbox

    box = Sandbox(trusted=[kit])
    box.prepare()
    for campaign in CAMPAIGNS.values():  # load and compile all that is loaded and compiled on first use
        for seed in campaign.seeds(kit):
            with contextlib.suppress(Exception):  # who answers a seed badly is told when it is asked for
                campaign.check(box, kit, seed)
    box.limit()
    link.send(True)
    while request := link.recv():
        name, data = request
        random.seed(0)
        try:
            link.send(CAMPAIGNS[name].check(box, kit, data))
        except Finding as finding:
            link.send(finding)
        except Exception:  # of a check: it met what it does not expect of an accepted input
            link.send(Finding("check", " ".join(traceback.format_exc().split())[-400:]))


class Worker:
    """Owner of the process."""

    def __init__(self, kit: Path) -> None:
        self._kit = kit
        self._process: BaseProcess | None = None
        self._link: Connection | None = None

    def answer(self, campaign: str, data: bytes) -> bool | Finding:
        """Whether the input was accepted, or what is wrong with how it was answered."""
        link = self._link or self._start()
        link.send((campaign, data))
        try:
            answer = link.recv() if link.poll(_WALL_SECONDS) else Finding("slow", "no answer at all")
        except (EOFError, ConnectionResetError):
            assert self._process is not None
            self._process.join(10)
            code = self._process.exitcode
            slow = code == -signal.SIGPROF
            answer = Finding("slow", "more than 10 s") if slow else Finding("crash", f"the process ended with {code}")
            self.stop()
        if isinstance(answer, Finding) and answer.kind in ("slow", "memory"):
            self.stop()  # it may hang, or be larger than before
        return answer

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._kit), daemon=True)
        self._process.start()
        theirs.close()
        if not self._link.poll(_START_SECONDS):
            raise RuntimeError("the process of the sandbox does not start")
        try:
            self._link.recv()
        except EOFError:
            self._process.join(10)
            raise RuntimeError(f"the process of the sandbox ended at its start with {self._process.exitcode}") from None
        return self._link

    def stop(self) -> None:
        """End the process; the next input starts another one."""
        if self._process is not None and self._link is not None:
            with contextlib.suppress(OSError):
                self._link.send(None)
            self._process.join(2)
            self._process.kill()
            self._process.join()
            self._link.close()
        self._process = self._link = None
