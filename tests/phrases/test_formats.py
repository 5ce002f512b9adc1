import pytest

from dropoff.phrases import differences, formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (6526, "6,526"), (-1234, "−1,234"), (1_000_000, "1,000,000")],
)
def test_number(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.4231, "42.3 %"),
        (0.00001, "0.1 %"),
        (0.99999, "99.9 %"),
        (1.101, "110.1 %"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share, text):
    assert formats.percent(share) == text.replace(" ", "\u00a0")


def test_what_shows_as_one_is_one():
    said = [formats.counted(count, "week") for count in (0, 0.6, 1, 1.4, 1.6)]
    assert said == ["0 weeks", "1 week", "1 week", "1 week", "2 weeks"]


def test_interval_and_fraction():
    assert formats.interval([0.907, 0.9212]) == "90.7–92.1\u00a0%"
    assert formats.interval(None) == "–"
    assert formats.fraction({"numerator": 5966, "denominator": 6526}) == "5,966\u00a0/\u00a06,526"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.3, "+0.30"), (-0.5, "−0.50"), (0, "0.00"), (-0.001, "0.00")]
)
def test_signed(value, text):
    assert formats.signed(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.99, "10 s"),
        (42, "42 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7200, "2 h"),
        (3 * 86400 + 4 * 3600 + 59, "3 d 4 h"),
        (-90, "−1 min 30 s"),
    ],
)
def test_duration_has_two_units(seconds, text):
    assert formats.duration(seconds) == text.replace(" ", "\u00a0")


def test_instants_stand_on_the_clock_of_the_project():
    assert formats.instant("2024-01-15T23:30:00+00:00", "Europe/Berlin") == "2024-01-16 00:30"
    assert formats.clock("2024-01-15T10:00:05.250000+00:00", "Asia/Kolkata") == "15:30:05"
    assert formats.day("2024-01-15T20:00:00Z", "Asia/Karachi") == "2024-01-16"
    assert formats.instant(None) == "–"


@pytest.mark.parametrize("end", ["2024-04-01T00:00:00+02:00", "2024-03-31T12:00:00+02:00"])
def test_an_exclusive_end_is_called_by_its_last_day(end):
    assert formats.last_day(end, "Europe/Berlin") == "2024-03-31"


def test_control_and_direction_characters_are_shown():
    assert formats.visible("a\x1b[31m\x00\x7f") == "a␛[31m␀␡"
    assert formats.visible("one\r\ntwo\tthree") == "one\ntwo\tthree"
    assert formats.visible("\u202eevil\x85") == "⟨U+202E⟩evil⟨U+0085⟩"
    assert formats.visible("\ud800").encode() == "\ufffd".encode()


def test_identifiers_become_words():
    assert formats.label("meeting_booked") == "Meeting booked"
    assert formats.label("") == ""
    assert [formats.label(name) for name in ("csat", "opt_out_rate")] == ["CSAT", "Opt-out rate"]


def test_no_q_has_an_exponent():
    assert formats.sure(4.9e-27).replace("\u00a0", " ") == "q < 0.001"
    assert formats.sure(0.0321, "p") == "p = 0.032"


def test_any_value_has_a_plain_form():
    value = {"industry": "software", "sizes": [1, -2000], "trial": True, "none": None}
    assert formats.plain(value) == "industry: software, sizes: 1, −2,000, trial: yes, none: –"
    assert formats.plain({}) == formats.plain([]) == formats.plain("") == "–"
    assert formats.plain(0) == "0"


def test_money_stands_in_the_minor_unit_of_its_currency():
    row = {"value": 113.1821, "unit": "money", "denominator": None, "amount": "113.1821"}
    shown = [formats.measure(row | {"currency": code}).replace("\u00a0", " ") for code in ("USD", "JPY", "KWD")]
    assert shown == ["113.18 USD", "113 JPY", "113.182 KWD"]


def test_a_matured_rate_is_named_by_its_time():
    rate = {"matured": {"value": 0.64, "n": 107, "maturity_days": 0.2}}
    assert formats.matured_first(rate).replace("\u00a0", " ") == "within 4 h 48 min: 64.0 % (n = 107)"


def test_what_may_be_only_the_mix_is_said():
    mix = {
        "dimension": "company_size",
        "difference": 0.002,
        "interval": (-0.02, 0.024),
        "p_value": 0.6,
        "mix_effect": 0.1,
    }
    row = {"a": "Legal", "b": "Retail", "better": "Legal", "mix": mix}
    assert differences.of_mix(row).replace("\u00a0", " ") == (
        "It may be only the mix: within one company size Legal is +0.2 pp beside Retail "
        "(95 %: −2.0 to +2.4 pp; p = 0.600)."
    )
    answer = {"best_performing": "Legal", "significant_differences": [row]}
    assert differences.of_best(answer) == "It may be so only by its mix of company size: see below."
    truly = answer | {"significant_differences": [row, row | {"b": "Software", "mix": None}]}
    assert differences.of_mix(truly["significant_differences"][1]) == differences.of_best(truly) == ""
    assert differences.of_best(answer | {"best_performing": None}) == ""
    unproven = answer | {"significant_differences": []}
    assert differences.of_best(unproven) == "It is better than no other by more than chance."


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1_hour", "1 hour"),
        ("4_hours", "4 hours"),
        ("30m", "30 minutes"),
        ("1d", "1 day"),
        ("90_minutes", "90 minutes"),
    ],
)
def test_a_window_in_words(written, said):
    assert formats.window(written) == said


def test_all_time_has_no_first_day():
    period = {"from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z", "timezone": "UTC"}
    assert formats.days(period) == "2024-01-01 to 2024-01-31"
    whole = period | {"from": "1901-01-01T00:00:00Z"}
    assert formats.days(whole, " – ") == "All time to 2024-01-31"
    assert formats.first_day(whole) == ""


def test_channels_have_their_own_spelling():
    assert [formats.label(name) for name in ("sms", "chat", "whatsapp")] == ["SMS", "Chat", "WhatsApp"]
