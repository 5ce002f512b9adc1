"""Where somebody is among the pages, and where one can go from there."""

from collections.abc import Collection
from typing import NamedTuple


class Page(NamedTuple):
    """An entry of the navigation."""

    path: str
    label: str


class Group(NamedTuple):
    """Pages that belong together: an entry of the navigation, which leads to the first; all of them stand below it."""

    label: str
    pages: tuple[Page, ...]


NAVIGATION = (
    Group(
        "Overview",
        (Page("/executive", "Executive"), Page("/operations", "Operations"), Page("/optimization", "Optimization")),
    ),
    Group(
        "Funnel",
        (Page("/", "Funnel"), Page("/dropoffs", "Drop-offs"), Page("/cohorts", "Cohorts"), Page("/trends", "Trends")),
    ),
    Group("Compare", (Page("/segments", "Segments"), Page("/experiments", "Experiments"))),
    Group(
        "Conversations",
        (Page("/conversations", "Conversations"), Page("/patterns", "Patterns"), Page("/messages", "Messages")),
    ),
    Group("Alerts", (Page("/alerts", "Alerts"),)),
    Group("Reports", (Page("/reports", "Reports"),)),
    Group("Definitions", (Page("/definitions", "Definitions"),)),
    Group("API", (Page("/api/docs", "API docs"),)),
)
"""Shown as far as the server has their pages."""


class Place(NamedTuple):
    """An entry of the navigation. `current`: `page` where one is there, `true` where it is above the page, else ``."""

    label: str
    page: Page
    current: str = ""


class Navigation(NamedTuple):
    """The groups, and the pages of the group in which somebody is (none where it has only one)."""

    groups: list[Place]
    pages: list[Place]


def navigation(path: str, known: Collection[str]) -> Navigation:
    """What is shown on the page of `path`, of the pages that are `known`."""
    groups = [Group(group.label, tuple(page for page in group.pages if page.path in known)) for group in NAVIGATION]
    shown = [group for group in groups if group.pages]
    here = next((group for group in shown if any(_current(page, path) for page in group.pages)), None)
    return Navigation(
        [Place(group.label, group.pages[0], _of_group(group, path)) for group in shown],
        [Place(page.label, page, _current(page, path)) for page in here.pages] if here and len(here.pages) > 1 else [],
    )


def _current(page: Page, path: str) -> str:
    if path == page.path:
        return "page"
    return "true" if page.path != "/" and path.startswith(f"{page.path}/") else ""


def _of_group(group: Group, path: str) -> str:
    found = [current for page in group.pages if (current := _current(page, path))]
    return "true" if found and len(group.pages) > 1 else "".join(found)
