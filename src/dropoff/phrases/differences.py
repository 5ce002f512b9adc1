"""Segments, and two periods, in plain words: for page, terminal and report."""

from collections.abc import Mapping

from dropoff.phrases.formats import duration, label, moved, number, percent, points, span, sure, visible


def standing(row: Mapping, *, best: bool) -> str:
    """What is to be said of a segment beside its numbers."""
    small = row["clusters"] is not None and not row["enough"]
    said = [
        "best" if best else "",
        "not enough data" if small else "",
        f"{percent(row['share_of_total'])} of all" if row["share_of_total"] is not None else "",
        f"{number(row['too_young'])} too young" if row["too_young"] else "",
    ]
    return ", ".join(text for text in said if text)


def differs(row: Mapping, unit: str) -> str:
    """A significant difference in plain words, without the names' meaning: `referral is 4.2 pp above paid (…)`."""
    by = moved(row["difference"], unit).removeprefix("+")
    better = f", and {visible(row['better'])} is better" if row["better"] else ""
    return (
        f"{visible(row['a'])} is {by} above {visible(row['b'])}{better} "
        f"(95 %: {span(row['interval'], unit)}; {sure(row['q_value'])}, {row['test']})"
    )


def of_mix(row: Mapping) -> str:
    """That a significant difference may be only the mix of another dimension; empty where nothing says so."""
    mix = row["mix"]
    if mix is None:
        return ""
    name, left = label(mix["dimension"]).lower(), points(mix["difference"])
    return (
        f"It may be only the mix: within one {name} {visible(row['a'])} is {left} beside {visible(row['b'])} "
        f"(95 %: {span(mix['interval'], 'share')}; {sure(mix['p_value'], 'p')})."
    )


def differs_or_mixes(row: Mapping, unit: str) -> str:
    """A significant difference, and that it may be only a mix where it may."""
    return ". ".join(text for text in (differs(row, unit), of_mix(row)) if text)


def of_best(answer: Mapping) -> str:
    """That the best segment may be so by chance, or only by its mix; empty where it is better than some other."""
    best = answer["best_performing"]
    if best is None:
        return ""
    ahead = [row for row in answer["significant_differences"] if row["better"] == best]
    if not ahead:
        return "It is better than no other by more than chance."
    if any(row["mix"] is None for row in ahead):
        return ""
    names = dict.fromkeys(label(row["mix"]["dimension"]).lower() for row in ahead)
    return f"It may be so only by its mix of {' and '.join(names)}: see below."


def change(both: Mapping, unit: str) -> str:
    """How much a metric changed between two periods, and how sure that is."""
    if both["change"] is None:
        return "nothing to compare"
    p = "" if both["p_value"] is None else f", {sure(both['p_value'], 'p')}"
    return f"{moved(both['change'], unit)} (95 %: {span(both['interval'], unit)}{p})"


def side_basis(side: Mapping, unit: str) -> str:
    """The interval of a metric in one period, and how many it is of: `62.1–66.3 % of 1,234`."""
    return f"{span(side['interval'], unit, signs=False)} of {number(side['denominator'])}"


def how_old(both: Mapping) -> list[str]:
    """How the conversations of two periods were made equally old."""
    found = []
    if both["follow_days"] is not None:
        found.append(f"Every conversation is followed for {duration(both['follow_days'] * 86400)} from its start.")
    left = both["left_out"]
    if left["now"] or left["before"]:
        found.append(f"Too young, and left out: {number(left['now'])} now, {number(left['before'])} before.")
    return found


FILTERS = {"change": change, "how_old": how_old, "of_best": of_best, "side_basis": side_basis}
