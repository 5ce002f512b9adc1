"""What the pages say about the numbers: stages, rates and the facts of a conversation."""

from typing import NamedTuple

FUNNELS = {"sales": "Sales (reached)", "mission": "Mission (recorded)"}

INTERVALS = {"hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}

CLOCKS = {
    "cohort": "By the start of the conversation",
    "activity": "By the time of the event",
}

GOOD = {"up": "Higher is better.", "down": "Lower is better.", "": ""}

AS_OF = "Only what had happened before this day or instant counts. Empty: all that is known now."

ZONES = (
    "UTC", "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "America/Argentina/Buenos_Aires",
    "America/Bogota", "America/Chicago", "America/Denver", "America/Halifax", "America/Los_Angeles",
    "America/Mexico_City", "America/New_York", "America/Phoenix", "America/Santiago", "America/Sao_Paulo",
    "America/Toronto", "Asia/Bangkok", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Jerusalem",
    "Asia/Karachi", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Manila", "Asia/Riyadh", "Asia/Seoul", "Asia/Shanghai",
    "Asia/Singapore", "Asia/Tokyo", "Australia/Adelaide", "Australia/Brisbane", "Australia/Perth", "Australia/Sydney",
    "Europe/Amsterdam", "Europe/Athens", "Europe/Berlin", "Europe/Dublin", "Europe/Istanbul", "Europe/Kyiv",
    "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Moscow", "Europe/Paris", "Europe/Rome",
    "Europe/Stockholm", "Europe/Vienna", "Europe/Warsaw", "Europe/Zurich", "Pacific/Auckland", "Pacific/Honolulu",
)  # fmt: skip
"""Time zones that are offered; any other can be typed."""

STAGES = {
    "started": "The conversation began in the period.",
    "responded": "The prospect wrote at least one counted message; inbound: one after the bot's first message.",
    "qualified": "The bot or a person marked the prospect as qualified.",
    "booked": "A meeting was booked; a reschedule is not a second booking.",
    "attended": "The prospect came to a booked meeting.",
    "opportunity": "A sales opportunity was created.",
    "converted": "At least one deal is won now.",
}

ALERT_TERMS = {
    "Firing": "The rule is breached, and has been for as long as it asks.",
    "Pending": "Breached, but not for long enough yet.",
    "Not enough data": "Fewer stand behind the value than the rule asks for: it says nothing, and wakes nobody.",
    "No data": "Nothing happened in the window that the metric could be read from.",
    "n": "How many stand behind the value; of a young rate, how many are to be expected by now.",
    "Interval": "95 % interval of the value.",
    "Silence": "Nobody is told until it ends. The state goes on; what still fires then is told.",
    "Acknowledge": "Somebody looks after what fires now: it is not repeated. Its end is told.",
    "Overtaken": "Not sent, because a later message of the same episode says more, or the receiver never heard of it.",
    "Quiet at": "The threshold nearest to the rule's own at which it would have fired at most once in 30 days.",
}

TERMS = {
    "Count": "Conversations that reached the stage. A later stage implies the earlier ones.",
    "Recorded": "Those with an event of their own for the stage.",
    "Implied": "Those without one, counted because they reached a later stage.",
    "Rate": "A share with the numbers it is made of and its 95 % interval (Wilson).",
    "Not enough data": "Fewer than 30 conversations stand below the line: the interval says more than the rate.",
    "Not recorded": "No event of this stage exists anywhere in the project, so no rate is claimed for it.",
    "Drop rate": "Share of those at a stage who did not reach the next one. Lost: how many that are.",
    "So far": "Those who have converted by now, of all who entered: of the young ones some may still come.",
    "Matured": "Of those who entered at least the maturity time ago, the share that converted within it: what comes "
    "later is not in it, so it may be below the rate so far.",
    "Within": "The maturity time: set in dropoff.toml, or by when nine in ten of the last 12 months had come, "
    "or a default. From the start it adds up along the stages, with the time for which meetings are booked ahead.",
    "Projected": "What the rate comes to: beyond the age of these conversations, as earlier ones went on. Opted out, "
    "lost and disqualified are ends. With fewer than 10 conversions behind it there is none.",
    "By": "The age for which it is projected: one that many earlier conversations have had.",
    "Borrowed": "The part of the projected value that comes from earlier conversations.",
    "Segment": "Conversations that have the value. (none): no value; (rest): all but the 50 most frequent together.",
    "Test traffic": "Conversations marked as tests are left out unless included above.",
}

_OF_STAGES = ("So far", "Matured", "Within", "Projected", "By", "Borrowed")

OWN_TERMS = {
    **{term: text for term, text in TERMS.items() if term not in _OF_STAGES},
    "Count": "Those that came to the step, as the mode of the funnel has it.",
    "Implied": "Those without one, counted because they came to a later step (mode reached).",
    "Time": "From the required step before, of those that took both: median, average, and within what nine in ten did.",
    "Segment": "Those that have the value. (none): no value; (rest): all but the 50 most frequent together.",
}

MODES = {
    "ordered": "In order",
    "strict": "One right after the other",
    "any": "In any order",
    "reached": "A later step implies",
    "recorded": "Own events only",
}

COHORT_TERMS = {
    "Cohort": "Conversations by when they began. Test traffic is left out unless included above.",
    "Age": "Whole weeks of 168 hours since the conversation began: week 0 is its first.",
    "Share": "Of the row's conversations those that had come to the stage, or a later one, before that week was over. "
    "With its 95 % interval (Wilson).",
    "Incomplete": "Not every conversation of the row has had that week yet: the share can still grow, so it is not "
    "shaded. Empty: none has begun it.",
    "By now": "All that came to the stage, at whichever age: what the funnel counts.",
    "Not enough data": "Fewer than 30 conversations began: the interval says more than the share, which is not shaded.",
    "Partial": "The period cuts the span of the row, or it is not over yet: more conversations belong to it.",
}

LOST = {"lost": "lost", "went_on": "went on", "silent": "of the lost fell silent"}

HAPPENED = {
    "opted_out": "opted out",
    "disqualified": "were disqualified",
    "escalated": "were handed to a human",
    "meeting_canceled": "cancelled the meeting",
    "meeting_no_show": "did not come to the meeting",
    "deal_lost": "lost the deal",
    "objection": "raised an objection",
    "fallback": "were not understood (fallback)",
    "error": "met an error of the bot",
    "undelivered": "were sent a last message that never arrived",
    "slow_reply": "waited long for the bot's last answer",
    "no_event": "none of these",
    "open": "are still open",
    "unanswered": "had the last word: nobody answered",
    "silence": "nothing: silence",
}
"""What can happen at a stage, of conversations: `INSTEAD` and `REASONS` of the analysis."""

SORTS = {"matured": "rate in the end", "rate": "rate so far", "volume": "number lost so far"}
"""The orders of drop-offs, as the page calls them."""

DROP_OFF_TERMS = {
    "In the end": "Matured: of those that came to the stage long enough ago, the share that had not gone on within "
    "that time. Projected: the share that will not have gone on at the horizon, the young ones judged by the older.",
    "Lost": "Reached the stage and not the next one that is recorded. Went on: reached both.",
    "Fell silent": "Lost and closed, without an opt-out, disqualification, handover, cancelled or missed meeting or "
    "lost deal; and the prospect did not have the last word.",
    "Last said": "The intent of the bot's last message at this stage. (none): a message without an intent; (nothing): "
    "the bot said nothing there. A farewell or a follow-up is followed by silence by its nature.",
    "Silent when said": "Of the conversations at this stage in which the bot said it, those that fell silent after it.",
    "Excess": "Silent, or lost, above what the average of this drop-off gives for as many conversations.",
    "Instead": "The first of these since the stage was reached; without one: open, nobody answered, or silence.",
    "Meanwhile": "How often it happened at this stage, among those lost and among those that went on.",
    "A reason": "More frequent among the lost, and not by chance: q below 0.05 over all of them "
    "(Benjamini–Hochberg), 30 or more on both sides. A contact that comes back counts as another.",
    "Slow reply": "The bot's last answer at this stage took longer than nine in ten of those there on its channel.",
    "Loses more": "The drop rate of a value against that of all others together, tested like the reasons.",
    "Rate and mix effect": "What a value adds to the change of the drop rate since the period before: by its own rate, "
    "and by being a larger or smaller part. Of a dimension both add up to the change (Kitagawa 1955).",
    "Test traffic": TERMS["Test traffic"],
}

OVERLAPPING = "a conversation stands under each of its values of {}"
TREND_TERMS = {
    "Interval": "95 % interval (Wilson) of a share. Counts, ratios, means and medians have none here.",
    "Partial": "The period cuts the span of the point, or it is not over yet: it will change.",
    "Immature": "Its conversations are so young that some may still do what the metric counts: it will change.",
    "Not enough data": "Fewer than 30 stand below the line: the interval says more than the value.",
    "Period before": "As many days that end where this period begins, compared point by point.",
    "Version": "A vertical line: the first conversation of a bot version.",
    "Test traffic": TERMS["Test traffic"],
}


SEGMENT_TERMS = {
    "Value": "The metric of the segment's conversations. With matured units only of those that are old enough.",
    "Interval": "95 % interval: Wilson of a share, Student of a mean, order statistics of a median. Where contacts "
    "come back it is over contacts: of a share at n / deff, of a mean linearised, of a median Woodruff's.",
    "n": "What the value is of: the conversations (or messages, meetings) below the line; of a median the values.",
    "Contacts": "The different contacts behind n. One without a contact counts as its own.",
    "Not enough data": "Fewer than 30 contacts: neither compared nor called best. Shown hollow.",
    "Best": "The best bound on the bad side: the highest lower one, or the lowest upper one where lower is better. "
    "That is the safest choice, not a proof: the differences below are.",
    "Significant": "q below 0.05 over all pairs together (Benjamini–Hochberg). An interval is for one comparison alone "
    "and decides nothing.",
    "Mix": "A segment with more of the better prospects looks better, though no kind of them does better in it. So a "
    "share is also compared within the values of every other dimension of prospects, channels and bot versions "
    "(Mantel–Haenszel): where less than half of a difference is left there, and no more than chance, it may be only "
    "the mix.",
    "Matured": "Conversations that are too young to be judged are left out as soon as there are any; of a rate between "
    "stages what came later than the maturity time, too. So segments of different age are compared fairly.",
    "Segment": "Conversations that have the value. (none): no value; (rest): all but the 50 most frequent together.",
    "Rate and mix effect": "What a segment adds to the change between two periods: by its own rate, and by being a "
    "larger or smaller part. Over all segments both add up to the change (Kitagawa 1955).",
    "One age": "In both periods only counts what a conversation did within the same time of its start.",
    "Test traffic": TERMS["Test traffic"],
}

EXECUTIVE_TERMS = {
    "Target": "What the settings want. Of counts and money as much of a month (week, day) as the period has of it; a "
    "sum that still grows is met as soon as it is reached. A young rate is judged by what it comes to: projected, else "
    "matured. Not certain: the interval holds the target.",
    "More than chance": "q below 0.05 over all that is tested here (Benjamini–Hochberg). Money and medians are not "
    "tested, and nothing below 30.",
    "One age": "A rate, or a count of a stage, is compared by what conversations did within the same time of their "
    "start: its maturity time, but at most so long that half of the days have had it. What began later is left out. "
    "So both numbers may differ from the one above.",
    "Counts": "Tested by how much they scatter from day to day, days of the week apart (quasi-Poisson). Of a period "
    "that is not over as much of the one before; of leads only those that began long enough ago.",
    "Accounts for": "What a segment adds to the change by its own rate and by being a larger or smaller part "
    "(Kitagawa 1955), beyond chance (q below 0.05) and beyond its part of all. It need not be the cause.",
    "Matured": TERMS["Matured"],
    "Projected": TERMS["Projected"],
    "Test traffic": TERMS["Test traffic"],
}

DECISIONS = {"ship": "Ship", "roll back": "Roll back", "keep running": "Keep running", "invalid": "Invalid"}

EXPERIMENT_TERMS = {
    "Unit": "A contact; a conversation where nobody says whose it is. Its first exposure counts, and what any of its "
    "conversations come to at or after it.",
    "Per exposed unit": "Units that reach the stage within its maturity time of their first exposure, of those exposed "
    "as long ago. Whoever was exposed later is still young, and not counted.",
    "Interval of an arm": "95 %, of one look (Wilson; of the sentiment Student's).",
    "Difference": "From the control, or from the first variant where none is called so. Sequential: its 95 % interval "
    "and p-value hold at every look together (normal-mixture confidence sequence). Fixed: those of one look at "
    "the end.",
    "q": "The share of false discoveries among all goals and arms with a q as small (Benjamini–Hochberg). Below 0.05 a "
    "difference is called better or worse; guardrails are a family of their own.",
    "Adjusted": "What was known of units before their exposure explains a part of the differences between them, which "
    "is taken off (CUPED). The plain difference stands beside it.",
    "Not enough data": "Fewer than 30 mature units in an arm, or fewer than 5 of one outcome to be expected.",
    "Sample ratio": "Whether units fell to the arms by their weights. Below 0.001 at any look (in a dimension: shared "
    "out among its values) they did not, and no difference can be trusted.",
    "Mixed exposure": "Units that met more than one variant. Above 1 % nothing can be said.",
    "Guardrail": "What must not get worse within 7 days of the exposure: opt-outs and complaints per exposed unit, and "
    "the mean sentiment of what units wrote, 0 for those that wrote nothing.",
    "Step to step": "Of those that came to a stage, those that came to the next. Who comes to the first of them "
    "depends on the variant already: a variant that wins over more doubtful prospects loses more of them later. So "
    "these are shown and never tested.",
    "Can find": "The smallest rise that so many units find four times in five.",
    "Observational": "Nothing says that the variants were assigned at random: the same numbers, and no decision.",
}


PATTERN_TERMS = {
    "Pattern": "Steps in a row, or with gaps (at most five), that no longer pattern with the same conversations holds. "
    "Paths end before the first success or ending: nothing of the outcome is a step.",
    "With it": "Of the conversations with it in the second half of the contacts, which confirms what the first half "
    "found, the share that came to the success.",
    "Adjusted difference": "From the others of the same length, or where the place is as late (Mantel–Haenszel, "
    "interval after Sato). The share of all others is left out: they are longer or shorter, so it misleads.",
    "Lift": "How many times as often conversations with it come to the success as all do, in the whole period.",
    "q": "The false discovery rate (Benjamini–Hochberg) over all that were tested. Below 0.05 is confirmed; nothing "
    "else is shown.",
    "Tested": "What one half of the contacts found, and the other was asked about: patterns and places, one family.",
    "Left out": "Still open: neither won nor failed yet. With the mission's groups also those of other outcomes.",
    "Where ways part": "After a common beginning, or the first time of a step: the way on after which outcomes differ "
    "most from the others by the same side. First what the bot did, then what prospects did.",
    "Steps before": "How many steps came before the objection: the median, and between which half of them lie.",
    "Went on": "The prospect wrote again after the first answer, or the conversation was won. q is over all answers "
    "here.",
    "Difference matrix": "Of each group the share that is at the step at that position, the second taken from the "
    "first, in percentage points.",
    "Structural": "Steps that fewer than five of a group have, or lack, or only those that went on: they say what the "
    "groups are, and explain nothing.",
    "Test traffic": TERMS["Test traffic"],
}

OPERATION_TERMS = {
    "Stands out": "At least twice the usual share (the median of the hours or days), and more than chance beside all "
    "others together: q below 0.05 (Benjamini–Hochberg). Fewer than 30 say nothing.",
    "Mostly": "Of what there is the most more in this time than otherwise.",
    "Fallbacks and errors": "Bot turns with one, of all bot turns, by when they happened. One turn can have several: "
    "so the times below can be more than the turns above.",
    "Escalations and opt-outs": "Of the conversations that started in the period. Reason and word are the first ones.",
    "Said before": "The intent of the bot's last message before the opt-out. (none): a message without an intent; "
    "(nothing): it had said nothing.",
    "Share": "Of all that are counted in this list, with its 95 % interval (Wilson).",
    "Conversations": "Those in which it was so: a click shows them. One can stand under several.",
    "Immature": "Some conversations of the period are so young that it may still happen to them: the rate can rise.",
    "Response time": "From the prospect's last message to the bot's first one after it, by when the bot answered. The "
    "bounds of the bars are fixed, each two to three times the one before.",
    "Test traffic": f"{TERMS['Test traffic']} Data health counts all events.",
}

MESSAGE_TERMS = {
    "Message": "The variant under which the bot sent it, else its text with names, numbers and links replaced.",
    "Place": "Which message of the bot it is (1 is its first), and what the bot meant by it (its intent). Messages of "
    "one place are compared; first messages with one another, whatever their intent.",
    "Old enough": "A message that can still be answered is no miss: of each share only messages count that are as old "
    "as its maturity time, and what happened within as long.",
    "Answered": "The prospect wrote before the bot or an agent wrote again. Messages sent in one go, each within a "
    "minute of the one before, share the answer. Auto-replies and opt-out words are none.",
    "Objection": "The answer, up to the bot's next message, raises an objection.",
    "Opt-out": "The prospect opted out before the bot or an agent wrote again.",
    "Sentiment": "From the prospect's message before it to the answer, where both have a sentiment: the mean change.",
    "Booking and deal": "Of messages before which there was none, those whose conversation came to it afterwards.",
    "Shrunk": "Drawn towards the mean of its place, the more so the fewer they are: of many the best is partly the "
    "luckiest (empirical Bayes, Morris 1983).",
    "Best and worst": "By the bound on the bad side, beside the mean of their place, of those with 30 and 30 contacts.",
    "Verdict": "Against all others of its place, q below 0.05 over all messages together (Benjamini–Hochberg).",
    "Not enough data": "Fewer than 30 messages or contacts.",
    "Test traffic": TERMS["Test traffic"],
}


OPTIMIZATION_TERMS = {
    "What to test next": "Places where another way may win more, the most gained by week of testing first. A place "
    "where an experiment is running already is left out.",
    "A week": "Conversations that came there in a week of the last 30 days; units of an experiment.",
    "Now": "The share with which it goes well at the place, drawn towards its group.",
    "Plausible effect": "Half of the difference that is seen, after it was drawn towards its group: between a message "
    "and the best other one at its place, an answer and the best other one, both ways at a fork, an intent and what "
    "else ends conversations at that stage.",
    "Each arm": "What two arms need to find the effect four times in five, read by a sequence at any time.",
    "Weeks": "Until as many came and the last one is old enough. Above 26 it is too small to be found.",
    "May bring": "More at the goal in a month: those that come there, times the effect, times how many of those with "
    "which it goes well come to the goal; of a fork and an answer only those that go the worse way now.",
    "Fell silent": "The conversation ended without a word after the bot's last message at that stage. Intents after "
    "which more than half fall silent are left out: a farewell or a follow-up by their nature.",
    "Goal": "The stage that counts as success.",
    "q": "The false discovery rate (Benjamini–Hochberg) of the family on the page that the sentence leads to. Of "
    "segments it is below 0.05 / the number of splits.",
    "Test traffic": TERMS["Test traffic"],
}


class Fact(NamedTuple):
    """One line of a conversation's facts; `kind` names the format, `always`: shown even when there is none.

    `folded`: shown on demand, as what is not named here.
    """

    name: str
    label: str
    kind: str = "plain"
    always: bool = False
    folded: bool = False


FACTS = (
    Fact("channel", "Channel", always=True),
    Fact("direction", "Direction"),
    Fact("contact_id", "Contact"),
    Fact("started_at", "Started", "instant", always=True),
    Fact("ended_at", "Ended", "instant", always=True),
    Fact("duration_seconds", "Duration", "duration", always=True),
    Fact("stage", "Stage", "label", always=True),
    Fact("outcome", "Outcome", "label", always=True),
    Fact("reported_outcome", "Reported outcome", "label", folded=True),
    Fact("status", "Status", "label"),
    Fact("message_count", "Messages", "number", always=True),
    Fact("bot_messages", "Bot messages", "number", folded=True),
    Fact("prospect_messages", "Prospect messages", "number", folded=True),
    Fact("agent_messages", "Agent messages", "number", folded=True),
    Fact("first_response_seconds", "First response", "duration", always=True),
    Fact("sentiment_start", "Sentiment, first", "signed", folded=True),
    Fact("sentiment_end", "Sentiment, last", "signed", folded=True),
    Fact("sentiment_trend", "Sentiment trend", "signed", always=True),
    Fact("qualification_score", "Qualification score", folded=True),
    Fact("lead_score", "Lead score", folded=True),
    Fact("csat", "CSAT", "percent"),
    Fact("revenue", "Revenue"),
    Fact("escalated", "Escalated", always=True),
    Fact("escalation_reason", "Escalation reason"),
    Fact("fallback_count", "Fallbacks", "number", always=True),
    Fact("error_count", "Errors", "number"),
    Fact("intents_detected", "Intents", folded=True),
    Fact("objections_raised", "Objections"),
)

# Shown elsewhere on the page of a conversation, or the same as another fact.
HIDDEN_FACTS = frozenset(
    {"id", "messages", "events", "human_messages", "ending", "path", "period", "as_of", "definition"}
    | {"funnel", "neighbours"}
)

STARTED = "conversation_started"
