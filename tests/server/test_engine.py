"""The parts of a process are opened together, and closed together."""

from pathlib import Path

import pytest

from dropoff.errors import InvalidInput
from dropoff.process.fold import Rules
from dropoff.project.settings import load
from dropoff.server.engine import Engine, rules_of

RULE = {
    "metric": "win_rate", "condition": "drops_below", "threshold": 0.5, "window": "1d", "severity": "low",
    "notify": ["nobody"],
}  # fmt: skip


def test_what_cannot_be_wired_leaves_nothing_open(tmp_path: Path):
    with pytest.raises(
        InvalidInput, match=r"^alerts: alerts\[0\]\.notify == 'nobody', must be a receiver: none"
    ) as refused:
        Engine(load(data=tmp_path / "data", alerts=[RULE]))
    assert refused.value.__traceback__  # whoever holds on to it does not hold the files
    with Engine(load(data=tmp_path / "data")) as engine:
        assert engine.missing() == {}


def test_the_fold_goes_by_the_settings():
    settings = load(idle_seconds={"fax": 1}, idle_default_seconds=2, deal_horizon_days=3, attribution_days=4)
    assert rules_of(settings) == Rules(settings.zone, {"fax": 1}, 2, 3, 4)
