"""How pages are looked at: wide and on a phone, in both themes, with everything unfolded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

on_both_sizes = pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
needs_axe = pytest.mark.skipif(not AXE.exists(), reason=f"{AXE.name} is missing (npm ci)")

_UNFOLD = "document.querySelectorAll('main details').forEach(one => one.open = true)"
_OURS = {"exclude": [["#api-docs"]]}
"""The reference is Swagger UI's."""


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def is_dark(page: Page) -> bool:
    """Whether the paper is dark."""
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(map(int, re.findall(r"\d+", back)[:3])) < 60


def assert_accessible(page: Page, where: str) -> None:
    """In neither theme axe finds anything serious, and nothing scrolls sideways. The dark one stays."""
    page.evaluate(_UNFOLD)
    page.evaluate(AXE.read_text() + "\n;0")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("ours => axe.run(ours, {resultTypes: ['violations']})", _OURS)
        grave = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
        assert grave == [], f"{where}, {scheme}: {json.dumps(grave, indent=1)[:3000]}"
    assert overflow(page) <= 0, where
