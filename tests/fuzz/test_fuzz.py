"""Every campaign for a moment with a fixed seed, all inputs that once were answered wrongly, and the room itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.campaigns import CAMPAIGNS
from fuzz.findings import Finding
from fuzz.kit import build
from fuzz.reduce import smaller
from fuzz.worker import Worker

REGRESSIONS = Path(__file__).parent / "regressions"
SEED = 2026
EXECUTIONS = 60


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def worker(kit: Path) -> Iterator[Worker]:
    found = Worker(kit)
    yield found
    found.stop()


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_short_campaign_finds_nothing(name: str, kit: Path, worker: Worker) -> None:
    campaign = CAMPAIGNS[name]
    seeds = campaign.seeds(kit)
    for number in range(EXECUTIONS):
        answer = worker.answer(name, campaign.case(seeds, SEED, number))
        assert not isinstance(answer, Finding), f"execution {number}: {answer}"
        if number < len(seeds) and name != "images":
            assert answer, f"seed {number} is refused"


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*/*")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_what_was_found_once_is_answered_well(path: Path, worker: Worker) -> None:
    answer = worker.answer(path.parent.name, path.read_bytes())
    assert not isinstance(answer, Finding), str(answer)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_equal_seeds_give_equal_inputs(name: str, kit: Path) -> None:
    campaign = CAMPAIGNS[name]
    seeds = campaign.seeds(kit)
    first, again = ([campaign.case(seeds, 1, number) for number in range(40)] for _ in range(2))
    assert first == again and len(set(first)) > 20


def test_findings_are_made_smaller() -> None:
    text = "".join(f"line {i}\n" for i in range(100)).encode()
    assert smaller(text, lambda data: b"line 41\n" in data) == b"line 41\n"
