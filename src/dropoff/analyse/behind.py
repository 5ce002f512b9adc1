"""Which conversations a list is of: those behind numbers of other answers, those that are looked for, or both."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dropoff.analyse import counted, troubles
from dropoff.analyse.conversations import conversations, search
from dropoff.analyse.conversations.conversations import Listed, Stages
from dropoff.analyse.experiments import experiments
from dropoff.analyse.funnels import custom_funnel, dropoffs
from dropoff.analyse.funnels.funnel import Definition
from dropoff.analyse.messages import messages
from dropoff.analyse.patterns import patterns
from dropoff.analyse.young import Young
from dropoff.errors import InvalidInput
from dropoff.metrics import Metric
from dropoff.project.experiments import Experiment
from dropoff.project.funnels import Funnel
from dropoff.project.wording import Rule
from dropoff.query import Params, Query, one
from dropoff.store.base import Store

PARAMETERS = (
    "name", "definition", "mode", "threshold", *Stages._fields, *dropoffs.BEHIND, *experiments.BEHIND,
    *patterns.BEHIND, *messages.BEHIND, *troubles.BEHIND, *counted.BEHIND,
    *search.PARAMETERS,
)  # fmt: skip
"""What a list takes. Of the funnel are the stages; its threshold changes nothing."""


class Project(NamedTuple):
    """What lists need to know of a project beside its data."""

    planned: Mapping[str, Experiment]
    young: Young
    wording: Sequence[Rule]
    metrics: Mapping[str, Metric]


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
    """The list that is meant; `named`: the funnel, and what it goes by. Raises `InvalidInput`.

    All that is given holds together.
    """
    name, funnel = named
    stages, wanted = Stages.parse(params), search.parse(params)
    found = _of_others(store, query, params, project)
    if isinstance(funnel, Funnel) or dropoffs.parse_behind(params) is not None:
        found.append(_of_funnel(store, query, params, name, funnel))
    elif found and any(stages):
        found.append((conversations.at(store, query, funnel, stages), stages.described()))
    # Conditions on a unit's first exposure are none on its other conversations.
    query = replace(query, where=()) if one(params, "experiment") is not None else query
    listed = None
    if found:
        listed = conversations.began(store, *_together(found))
        if wanted is not None:
            listed = listed.with_what(search.matching(store, query, wanted, started=False), wanted)
    elif wanted is not None:
        assert isinstance(funnel, Definition)  # noqa: S101
        listed = conversations.searched(store, query, funnel, stages, wanted)
    return Conversations(store, query, funnel, stages, listed)


Behind = tuple[Collection[str], str]
"""The ids of conversations, and which they are, in words."""


def _together(found: Sequence[Behind]) -> Behind:
    """Those that are in all of these."""
    first, *others = (text.removesuffix(".") for _, text in found)
    text = "; ".join([first, *(other[0].lower() + other[1:] for other in others)])
    return set.intersection(*(set(ids) for ids, _ in found)), f"{text}."


def _of_others(store: Store, query: Query, params: Params, project: Project) -> list[Behind]:
    """Those behind numbers of other answers than a funnel's."""
    found: list[Behind] = []
    if trial := experiments.parse_behind(params):
        ids = experiments.behind(store, query, project.planned, project.young, *trial)
        found.append((ids, experiments.listed(*trial)))
    if way := patterns.parse_behind(params):
        found.append((patterns.behind(store, query, params, *way), patterns.described(*way)))
    if message := messages.parse_behind(params):
        found.append((messages.units(store, query, project.wording, message), messages.described(message)))
    if trouble := troubles.parse_behind(params):
        found.append((troubles.behind(store, query, trouble), troubles.described(trouble)))
    if part := counted.parse_behind(params, project.metrics):
        found.append((counted.behind(store, query, part), counted.described(part)))
    return found


def _of_funnel(store: Store, query: Query, params: Params, name: str, funnel: Definition | Funnel) -> Behind:
    """Those of a funnel of one's own, or those of which only `dropoffs` knows what became of them."""
    meant, (stage, within, dropped) = dropoffs.parse_behind(params), Stages.parse(params)
    if within is not None:
        raise InvalidInput("within", within, "left out: it is for the stages of Dropoff's own funnels")
    if meant is not None:
        return dropoffs.units(store, query, funnel, *meant), dropoffs.described(*meant)
    assert isinstance(funnel, Funnel)  # noqa: S101
    return custom_funnel.units(store, query, funnel, stage, dropped), custom_funnel.listed(name, stage, dropped)
