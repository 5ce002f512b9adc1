"""A setting that is wrong is refused with its place, its value and the rule."""

from pathlib import Path

import pytest

from dropoff.errors import InvalidInput
from dropoff.project.settings import load, unread_file
from dropoff.tomltext import line_of


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of settings, still to be written."""
    path = tmp_path / "dropoff.toml"
    monkeypatch.setenv("DROPOFF_CONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('timezone = "Mars/Base"', "{file}:1: timezone == 'Mars/Base', must be an IANA zone"),
        ('# ports\n\nport = "many"', "{file}:3: port == 'many', must be a valid integer"),
        ('store_memory = "0MB"', "{file}:1: store_memory == '0MB', must be a size such as 512MB or 2GB"),
        ('tiemzone = "UTC"', "unknown setting 'tiemzone' in {file}:1: did you mean timezone?"),
        ("[maturity]\nbooked = 3\nbookd = 4", "unknown stage 'bookd' in {file}:3: maturity: did you mean booked?"),
        ("[maturity]\nbooked = 0", "{file}:2: maturity.booked == 0.0, must be days, more than 0"),
        (
            '[targets]\nwin_rate = 0.2\n[targets.leads]\nvalue = -1\nper = "week"',
            "{file}:4: targets.leads.value == -1, must be a number from 0",
        ),
        (
            '[metrics.texts]\nunit = "count"\nnumerator = { event = "x" }',
            "{file}:1: metrics.texts.description is missing: it must be given",
        ),
        (
            '[metrics.texts]\nnumerator = { event = "x" }',
            "{file}:1: metrics.texts.description, unit is missing: it must be given",
        ),
        (
            '[metrics.texts]\ndescription = "x"\nunit = "count"\n[metrics.texts.numerator]\nevnt = "x"',
            "{file}:4: metrics.texts.numerator.event is missing: it must be given",
        ),
        (
            '[funnels.own]\nsteps = [\n  {event = "a"},\n  {event = "b", within = "soon"},\n]',
            "{file}:4: funnels.own.steps[1].within == 'soon', must be like '90m'",
        ),
        (
            '[[receivers]]\nname = "a"\nkind = "apprise"\nurl = "json://x"\n\n[[receivers]]\nname = "b"\n',
            "{file}:6: receivers[1] (b): url is missing: it must be given once",
        ),
        (
            '[[annotations]]\nat = 2024-01-15\ntext = "x"\n[[annotations]]\nat = "soon"\ntext = "y"',
            "{file}:5: annotations[1].at == 'soon', must be a date",
        ),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(file: Path, text: str, said: str):
    file.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        load()
    assert str(refused.value).startswith(said.format(file=file))


def test_a_file_beside_the_data_is_not_read(file: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    assert unread_file(load(data=data)) is None
    (data / "dropoff.toml").write_text('timezone = "Europe/Berlin"')
    assert (load(data=data).timezone, unread_file(load(data=data))) == ("UTC", data / "dropoff.toml")
    file.symlink_to(data / "dropoff.toml")
    assert (load(data=data).timezone, unread_file(load(data=data))) == ("Europe/Berlin", None)


def test_of_a_mistake_elsewhere_no_line_is_told(file: Path, monkeypatch: pytest.MonkeyPatch):
    file.write_text('timezone = "Europe/Berlin"')
    monkeypatch.setenv("DROPOFF_TIMEZONE", "Mars/Base")
    with pytest.raises(InvalidInput, match=r"^timezone == 'Mars/Base'"):
        load()
    with pytest.raises(InvalidInput, match=r"^port == 70000"):
        load(port=70_000)


def test_a_receiver_that_is_wrong_does_not_show_its_secret(file: Path):
    file.write_text('[[receivers]]\nname = "ops"\nurl = "https://x/hunter2"\nsecret = "hunter3"\n')
    with pytest.raises(InvalidInput, match=r"toml:4: receivers\[0\] \(ops\): secret == '…'") as refused:
        load()
    assert "hunter" not in str(refused.value)


def test_channels_are_known_in_any_spelling():
    assert load(idle_seconds={"E-Mail": 60, "WebChat": 5}).idle_seconds == {"email": 60, "chat": 5}
    with pytest.raises(InvalidInput, match=r"idle_seconds\.sms == 0, must be greater than 0"):
        load(idle_seconds={"sms": 0})


def test_where_a_value_begins():
    text = 'a = """\nb = 1\n"""\n\n[c.d]\nb = [\n  1,\n]\n[[e]]\nf = 1\n[[e]]\nf = {g = 2}\n'
    places = {"a": 1, "c": 5, "c.d": 5, "c.d.b": 6, "e.0": 9, "e.0.f": 10, "e.1": 11, "e.1.f.g": 12, "e.1.no": 11}
    assert {path: line_of(text, path.split(".")) for path in places} == places
    assert line_of(text, ["no"]) is None
