"""Reports made by hand, of any text."""

from dropoff.report.value import Bullets, Line, Report, Run, Section, Source, Talk, note, paragraph, table, words

PERIOD = {"from": "2026-05-18T00:00:00+00:00", "to": "2026-05-25T00:00:00+00:00", "timezone": "UTC"}
SOURCE = Source("metrics", (("from", ("2026-05-18",)), ("where", ("channel=sms",))), ("metrics", 0))


def report(text: str = "plain") -> Report:
    """In every place where a text of events can stand there is this one."""
    number = Run(text, SOURCE, 1)
    blocks = (
        paragraph(text, number), note(text), Bullets((words(text, number), words(number))),
        table(text, {text: False, "n": True}, [[text, number], [number, "2"]]),
        Talk(words(number), words(text), (Line("Bot", text), Line("Prospect", text, 2), Line("", "", 1))),
    )  # fmt: skip
    return Report(
        "weekly", f"Weekly report, {text}", text, PERIOD, "2026-06-01T00:00:00+00:00", (words(text, number),),
        (Section(text, blocks),),
    )  # fmt: skip
