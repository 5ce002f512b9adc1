"""How pages are looked at: in both themes, wide and on a phone."""

from collections.abc import Mapping
from typing import Any

import pytest


def looks(phone: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Each theme and each size once; the other two pairs in long runs."""
    return pytest.mark.parametrize(
        ("scheme", "size"),
        [
            pytest.param("light", {}, id="light-wide"),
            pytest.param("dark", phone, id="dark-phone"),
            pytest.param("dark", {}, id="dark-wide", marks=pytest.mark.long),
            pytest.param("light", phone, id="light-phone", marks=pytest.mark.long),
        ],
    )
