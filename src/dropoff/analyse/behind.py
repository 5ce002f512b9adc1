"""Which conversations a list is of: those behind a number of another answer, those that are looked for, or both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dropoff.analyse import troubles
from dropoff.analyse.conversations import conversations, search
from dropoff.analyse.conversations.conversations import Listed, Stages
from dropoff.analyse.experiments import experiments
from dropoff.analyse.funnels import custom_funnel, dropoffs
from dropoff.analyse.funnels.funnel import Definition
from dropoff.analyse.messages import messages
from dropoff.analyse.patterns import patterns
from dropoff.analyse.young import Young
from dropoff.errors import InvalidInput
from dropoff.project.experiments import Experiment
from dropoff.project.funnels import Funnel
from dropoff.project.wording import Rule
from dropoff.query import Params, Query, one
from dropoff.store.base import Store

_OF_FUNNEL = (*Stages._fields, *dropoffs.BEHIND)
_NUMBERS = (experiments.BEHIND, patterns.BEHIND, messages.BEHIND, tuple(troubles.BEHIND), _OF_FUNNEL)
"""By which parameters the number is meant: one of these, or none."""

PARAMETERS = (
    "name", "definition", "mode", "threshold", *_OF_FUNNEL, *experiments.BEHIND, *patterns.BEHIND, *messages.BEHIND,
    *troubles.BEHIND, *search.PARAMETERS,
)  # fmt: skip
"""What a list takes. Of the funnel are the stages; its threshold changes nothing."""


class Project(NamedTuple):
    """What lists need to know of a project beside its data."""

    planned: Mapping[str, Experiment]
    young: Young
    wording: Sequence[Rule]


class Conversations(NamedTuple):
    """A list of conversations: `listed`, or where that is None those of a funnel that the query and a condition say."""

    store: Store
    query: Query
    funnel: Definition | Funnel
    stages: Stages
    listed: Listed | None

    def page(self, limit: int, after: str | None) -> dict[str, Any]:
        """A part of it, the latest first."""
        if self.listed is not None:
            return conversations.listing_of(self.store, self.query, self.listed, limit=limit, after=after)
        assert isinstance(self.funnel, Definition)  # noqa: S101
        return conversations.listing(self.store, self.query, self.funnel, self.stages, limit=limit, after=after)

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """The whole of it, some rows at a time."""
        if self.listed is not None:
            return conversations.export_of(self.store, self.query, self.listed)
        assert isinstance(self.funnel, Definition)  # noqa: S101
        return conversations.export(self.store, self.query, self.funnel, self.stages)


def parse(
    store: Store, query: Query, params: Params, named: tuple[str, Definition | Funnel], project: Project
) -> Conversations:
    """The list that is meant; `named`: the funnel, and what it goes by. Raises `InvalidInput`."""
    _check(params)
    name, funnel = named
    stages, wanted = Stages.parse(params), search.parse(params)
    found = _of_another(store, query, params, project) or _of_funnel(store, query, params, name, funnel)
    # Conditions on a unit's first exposure are none on its other conversations.
    query = replace(query, where=()) if one(params, "experiment") is not None else query
    listed = None
    if found is not None:
        listed = conversations.began(store, *found)
        if wanted is not None:
            listed = listed.with_what(search.matching(store, query, wanted, started=False), wanted)
    elif wanted is not None:
        assert isinstance(funnel, Definition)  # noqa: S101
        listed = conversations.searched(store, query, funnel, stages, wanted)
    return Conversations(store, query, funnel, stages, listed)


def _check(params: Params) -> None:
    """Refuse a list behind two numbers: one of them would filter nothing."""
    given: list[str] = []
    for names in _NUMBERS:
        given += [name for name in names if any(params.get(name, ()))][:1]
    if len(given) > 1:
        values = [text for text in params[given[1]] if text]
        raise InvalidInput(given[1], ", ".join(values), f"left out where {given[0]} is given")


def _of_another(store: Store, query: Query, params: Params, project: Project) -> tuple[list[str], str] | None:
    """The ids behind a number of another answer than a funnel's, and which they are."""
    if trial := experiments.parse_behind(params):
        return experiments.behind(store, query, project.planned, project.young, *trial), experiments.listed(*trial)
    if way := patterns.parse_behind(params):
        return patterns.behind(store, query, params, *way), patterns.described(*way)
    if message := messages.parse_behind(params):
        return messages.units(store, query, project.wording, message), messages.described(message)
    if trouble := troubles.parse_behind(params):
        return troubles.behind(store, query, trouble), troubles.described(trouble)
    return None


def _of_funnel(
    store: Store, query: Query, params: Params, name: str, funnel: Definition | Funnel
) -> tuple[list[str], str] | None:
    """The ids of those of a funnel that are meant, and which they are; None where a condition says it."""
    meant, (stage, within, dropped) = dropoffs.parse_behind(params), Stages.parse(params)
    if meant is None and isinstance(funnel, Definition):
        return None
    if within is not None:
        raise InvalidInput("within", within, "left out: it is for the stages of Dropoff's own funnels")
    if meant is not None:
        return dropoffs.units(store, query, funnel, *meant), dropoffs.described(*meant)
    assert isinstance(funnel, Funnel)  # noqa: S101
    return custom_funnel.units(store, query, funnel, stage, dropped), custom_funnel.listed(name, stage, dropped)
