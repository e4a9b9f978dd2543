"""The command line of the fuzzing room."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.findings import Finding
from fuzz.reduce import smaller
from fuzz.worker import Worker

_REDUCE_SECONDS = 30.0


@dataclass
class Tally:
    """What a campaign did."""

    executions: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: dict[str, Path] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0: nothing was found, 1: something was."""
    from fuzz.campaigns import CAMPAIGNS

    parser = argparse.ArgumentParser("python tests/fuzz", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="CAMPAIGN/FILE", help="replay these files and do no more"
    )
    parser.add_argument("--seconds", type=float, default=60, help="time for all campaigns together (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="of the mutations (default: the time of day)")
    parser.add_argument("--campaign", action="append", choices=list(CAMPAIGNS), help="only these (default all)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where findings go (default out/fuzz)")
    args = parser.parse_args(argv)
    from fuzz.kit import build

    with tempfile.TemporaryDirectory(prefix="fuzz-kit-") as folder:
        worker = Worker(build(Path(folder)))
        try:
            if args.files:
                return _replay(worker, args.files)
            seed = int(time.time()) if args.seed is None else args.seed
            names = args.campaign or list(CAMPAIGNS)
            print(f"seed {seed}")
            each = args.seconds / len(names)
            tallies = [_campaign(worker, Path(folder), name, seed, each, args.out) for name in names]
        finally:
            worker.stop()
    found = sum(len(t.findings) for t in tallies)
    print(f"{sum(t.executions for t in tallies)} executions, {found} finding(s)")
    return 1 if found else 0


def _replay(worker: Worker, files: Sequence[Path]) -> int:
    """Answer files whose folder is named like their campaign."""
    bad = 0
    for file in files:
        answer = worker.answer(file.resolve().parent.name, file.read_bytes())
        bad += isinstance(answer, Finding)
        print(f"{file}: {answer if isinstance(answer, Finding) else 'accepted' if answer else 'refused'}")
    return 1 if bad else 0


def _campaign(worker: Worker, kit: Path, name: str, seed: int, seconds: float, out: Path) -> Tally:
    from fuzz.campaigns import CAMPAIGNS

    campaign = CAMPAIGNS[name]
    seeds = campaign.seeds(kit)
    tally = Tally()
    worker.answer(name, seeds[0])  # a lost process starts again outside the measured time
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        data = campaign.case(seeds, seed, tally.executions)
        answer = worker.answer(name, data)
        tally.executions += 1
        if isinstance(answer, Finding):
            if answer.signature not in tally.findings:
                tally.findings[answer.signature] = _save(worker, name, data, answer, out)
        else:
            tally.accepted += answer
    tally.seconds = time.monotonic() - began
    rate = tally.executions / tally.seconds
    print(f"{name:12} {tally.executions:7} executions ({rate:.0f} a second), {tally.accepted} accepted", end="")
    print(f", {len(tally.findings)} finding(s)", flush=True)
    return tally


def _save(worker: Worker, name: str, data: bytes, finding: Finding, out: Path) -> Path:
    """Write a finding, made smaller where that is quick, and tell how to see it again."""
    until = time.monotonic() + _REDUCE_SECONDS

    def still(candidate: bytes) -> bool:
        if time.monotonic() > until:
            return False
        answer = worker.answer(name, candidate)
        return isinstance(answer, Finding) and answer.signature == finding.signature

    if finding.kind != "slow":
        data = smaller(data, still)
    path = out / name / f"{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"  {name}: {finding}\n    {len(data)} bytes; again: python tests/fuzz {path}", flush=True)
    return path
