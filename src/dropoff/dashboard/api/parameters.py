"""The parameters of the API, declared for its schema alone: a question reads the URL itself, so that every surface
parses it in one place. Each of these is a dependency that does nothing."""

from typing import Annotated

from fastapi import Query

from dropoff.query import DIMENSIONS


def common(
    start: Annotated[str | None, Query(alias="from", description="first day, or an instant with an offset")] = None,
    end: Annotated[str | None, Query(alias="to", description="the day or instant after the last: exclusive")] = None,
    timezone: Annotated[str | None, Query(description="IANA zone of the days; default: the project's")] = None,
    where: Annotated[
        list[str] | None, Query(description=f"dimension=value; {', '.join(DIMENSIONS)}, property:<name>")
    ] = None,
    include_test: Annotated[str | None, Query(description="1 puts test traffic back")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: only what had happened before it")] = None,
) -> None:
    """Of every question about conversations."""


def metrics(
    metric: Annotated[list[str] | None, Query(description="a metric; repeatable; default: all of them")] = None,
    by: Annotated[str | None, Query(description="dimension to split by")] = None,
) -> None:
    """Of metrics."""


def trend(
    metric: Annotated[str | None, Query(description="the metric")] = None,
    interval: Annotated[str | None, Query(description="hour, day (default), week or month")] = None,
    by: Annotated[str | None, Query(description="dimension to split by")] = None,
) -> None:
    """Of trend."""


def funnel(
    name: Annotated[str | None, Query(description="sales (default), mission or one of your own")] = None,
    definition: Annotated[str | None, Query(description="in place of a name: a funnel as JSON")] = None,
    mode: Annotated[str | None, Query(description="of your own in another mode: reached, recorded, ordered, …")] = None,
    by: Annotated[str | None, Query(description="dimension to split by; of your own also event:<property>")] = None,
    threshold: Annotated[str | None, Query(description="drop-offs above this rate, 0 to 1; default 0")] = None,
) -> None:
    """Of funnel and dropoffs."""


def dropoffs(
    sort: Annotated[str | None, Query(description="rate (default), volume or matured: what comes first")] = None,
    explain: Annotated[str | None, Query(description="all (default), worst, none, or the stage it begins at")] = None,
) -> None:
    """Of dropoffs."""


def own_funnel(
    interval: Annotated[str | None, Query(description="of your own also by hour, day, week or month")] = None,
) -> None:
    """Of funnel alone."""


def listing(
    name: Annotated[str | None, Query(description="the funnel whose stages are meant; default sales")] = None,
    definition: Annotated[str | None, Query(description="in place of a name: a funnel as JSON")] = None,
    mode: Annotated[str | None, Query(description="of your own in another mode: reached, recorded, ordered, …")] = None,
    threshold: Annotated[str | None, Query(description="of the funnel that led here; changes nothing")] = None,
    stage: Annotated[str | None, Query(description="only those that reached this stage")] = None,
    within: Annotated[str | None, Query(description="with stage: before they were so old, like 2w")] = None,
    dropped: Annotated[str | None, Query(description="only those that reached this stage and not the next")] = None,
    passed: Annotated[str | None, Query(description="only those that reached this stage and the next")] = None,
    said: Annotated[str | None, Query(description="of a stage: in which the bot said this intent there")] = None,
    last_intent: Annotated[str | None, Query(description="of a stage: that fell silent after this intent")] = None,
    instead: Annotated[str | None, Query(description="of a stage: what the lost did next")] = None,
    reason: Annotated[str | None, Query(description="of a stage: with this reason, or no_event")] = None,
    experiment: Annotated[
        str | None, Query(description="with variant: in which units were first exposed to it")
    ] = None,
    variant: Annotated[str | None, Query(description="with experiment")] = None,
    goal: Annotated[str | None, Query(description="with experiment: in which they came to this stage")] = None,
    pattern: Annotated[list[str] | None, Query(description="a step of a pattern; repeatable, in order")] = None,
    kind: Annotated[
        str | None, Query(description="of the pattern: step, run, gapped (default), beginning, after")
    ] = None,
    group: Annotated[str | None, Query(description="with pattern: successful or failed")] = None,
    message: Annotated[str | None, Query(description="with position: in which the bot said this there")] = None,
    position: Annotated[str | None, Query(description="with message: which message of the bot, 1 is its first")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 50")] = None,
    after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    format: Annotated[str | None, Query(description="json (default), or csv: the whole list")] = None,  # noqa: A002
) -> None:
    """Of a list of conversations: those behind a number."""


def search(
    text: Annotated[
        str | None, Query(description="words, or phrases in quotes, that are said in it; case and accents are alike")
    ] = None,
    intent: Annotated[str | None, Query(description="of any message; with message: of that one")] = None,
    objection: Annotated[str | None, Query(description="that was raised")] = None,
    outcome: Annotated[str | None, Query(description="converted, lost, …, dropped, open")] = None,
    ending: Annotated[str | None, Query(description="converted, lost, opted_out, disqualified, dropped")] = None,
    status: Annotated[str | None, Query(description="open or closed")] = None,
    contact_id: Annotated[str | None, Query(description="the contact's id")] = None,
    id: Annotated[str | None, Query(description="the conversation's own id")] = None,  # noqa: A002
) -> None:
    """Of a list: what is looked for."""


def troubles(
    trigger: Annotated[str | None, Query(description="with a fallback in the period that this triggered")] = None,
    utterance: Annotated[str | None, Query(description="in which the bot did not understand this")] = None,
    error: Annotated[str | None, Query(description="with an error of this kind in the period")] = None,
    escalation: Annotated[str | None, Query(description="handed to a human first for this reason")] = None,
    keyword: Annotated[str | None, Query(description="that opted out first with this word")] = None,
    opted_out_after: Annotated[str | None, Query(description="that opted out after this intent of the bot")] = None,
    health: Annotated[str | None, Query(description="tied: whose path depends on a tie")] = None,
) -> None:
    """Of a list: those with which something went wrong."""


def counted(
    metric: Annotated[str | None, Query(description="those behind this metric's value")] = None,
    part: Annotated[
        str | None, Query(description="with metric: numerator (default), those that count, or denominator, all of them")
    ] = None,
    currency: Annotated[str | None, Query(description="with a metric of money: in this currency")] = None,
) -> None:
    """Of a list: those behind a metric."""


def operations(
    interval: Annotated[
        str | None, Query(description="hour, day, week or month; default: by the length of the period")
    ] = None,
) -> None:
    """Of operations."""


def cohorts(
    stage: Annotated[str | None, Query(description="a stage of the funnel sales; default: the last recorded")] = None,
    interval: Annotated[str | None, Query(description="day, week (default) or month")] = None,
) -> None:
    """Of cohorts."""


def experiments(
    name: Annotated[str | None, Query(description="one experiment; default: all of them")] = None,
    goal: Annotated[
        list[str] | None, Query(description="a stage of the funnel sales; repeatable; default: all")
    ] = None,
    horizon: Annotated[str | None, Query(description="sequential (default), or fixed: read once at the end")] = None,
) -> None:
    """Of experiments."""


def messages(
    rank: Annotated[
        str | None,
        Query(description="reply_rate (default), objection_rate, opt_out_rate, sentiment_change, booking_rate, …"),
    ] = None,
    position: Annotated[
        str | None, Query(description="only this message of the bot, 1 is its first; default: any")
    ] = None,
    within: Annotated[
        str | None,
        Query(description="intent (default): compared at one position and intent; position: at one position"),
    ] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 100")] = None,
) -> None:
    """Of messages."""


def segments(
    metric: Annotated[str | None, Query(description="the metric")] = None,
    by: Annotated[str | None, Query(description="the dimension whose values are compared")] = None,
    segment: Annotated[list[str] | None, Query(description="NAME: key=value, …; repeatable, in place of by")] = None,
    units: Annotated[
        str | None, Query(description="auto (default), matured or all: whose numbers are compared")
    ] = None,
    compare: Annotated[str | None, Query(description="previous: beside the period before")] = None,
) -> None:
    """Of segments."""


def plan(
    base: Annotated[str | None, Query(description="the control's share of units, 0 to 1")] = None,
    effect: Annotated[str | None, Query(description="the absolute difference to find")] = None,
    power: Annotated[str | None, Query(description="the chance to find it; default 0.8")] = None,
    daily: Annotated[str | None, Query(description="new units a day, all arms together")] = None,
    arms: Annotated[str | None, Query(description="2 to 20; default 2")] = None,
    planned: Annotated[
        str | None, Query(description="the size a sequence is made for; default: what comes out")
    ] = None,
    horizon: Annotated[str | None, Query(description="sequential (default), or fixed")] = None,
) -> None:
    """Of the plan of an experiment."""


def explanation(
    metric: Annotated[str | None, Query(description="a share, a score or a ratio")] = None,
    by: Annotated[str | None, Query(description="one dimension; default: all that are suitable")] = None,
) -> None:
    """Of explain."""


def periods(
    compare_from: Annotated[str | None, Query(description="first day or instant of the other period")] = None,
    compare_to: Annotated[str | None, Query(description="the day or instant after its last: exclusive")] = None,
    follow: Annotated[str | None, Query(description="how long conversations are followed, like 14d")] = None,
) -> None:
    """Of what compares two periods."""


def paths(
    success: Annotated[str | None, Query(description="the stage that is a success; default converted")] = None,
    cut: Annotated[str | None, Query(description="paths end before this stage; default booked, or success")] = None,
    groups: Annotated[str | None, Query(description="closed (default), or mission: its literal outcomes")] = None,
    steps: Annotated[str | None, Query(description="with commas: bot, prospect, agent, objections, …")] = None,
    repeats: Annotated[str | None, Query(description="kept (default), or merged: equal steps in a row")] = None,
) -> None:
    """Of what is made of paths."""


def patterns(
    anchor: Annotated[str | None, Query(description="a step from which the matrices count positions")] = None,
    support: Annotated[str | None, Query(description="the least share of a group; default 0.05")] = None,
    segment: Annotated[list[str] | None, Query(description="two of NAME: key=value, …: their flows compared")] = None,
    compare: Annotated[str | None, Query(description="previous: flows beside the period before")] = None,
) -> None:
    """Of patterns."""


def optimization(
    goal: Annotated[
        str | None, Query(description="the stage that is a success; default booked, or the last recorded")
    ] = None,
    work: Annotated[
        str | None, Query(description="all (default), or ready: what takes long only where it has been worked out")
    ] = None,
) -> None:
    """Of optimization."""


def conversation(
    timezone: Annotated[str | None, Query(description="IANA zone of the day; default: the project's")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: only what had happened before it")] = None,
) -> None:
    """Of one conversation."""


def sample(
    success: Annotated[str | None, Query(description="the stage that is a success; default booked")] = None,
    limit: Annotated[str | None, Query(description="so many of each group, 1 to 20; default 5")] = None,
) -> None:
    """Of sample."""


def report(
    kind: Annotated[str | None, Query(description="weekly or monthly")] = None,
    format: Annotated[str | None, Query(description="html (default), md, pdf or json")] = None,  # noqa: A002
) -> None:
    """Of a report."""


def rejected(limit: Annotated[str | None, Query(description="1 to 100000; default 100")] = None) -> None:
    """Of refused events."""


def alerts(
    rules: Annotated[str | None, Query(description="in place of the project's: rules as JSON")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: how they stood then")] = None,
    coverage: Annotated[str | None, Query(description="1: also how often they had enough data")] = None,
) -> None:
    """Of how rules stand."""


def episodes(
    rule: Annotated[str | None, Query(description="the name of one rule; default: all")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 100")] = None,
) -> None:
    """Of when alerts fired."""


def backtest(
    start: Annotated[str | None, Query(alias="from", description="first day, or an instant with an offset")] = None,
    end: Annotated[str | None, Query(alias="to", description="the day or instant after the last: exclusive")] = None,
    rules: Annotated[str | None, Query(description="in place of the project's: rules as JSON")] = None,
    rule: Annotated[list[str] | None, Query(description="the name of one rule; repeatable; default: all")] = None,
    per_month: Annotated[str | None, Query(description="how often in 30 days is seldom enough; default 1")] = None,
) -> None:
    """Of what rules would have done."""
