"""What a prospect's message means, for bots that do not say: labellers, which know nothing but texts.

A labeller is anything with a `source` (`name@version`: other labels need another version) and `label`. Two are shipped:
`rules`, the words and phrases of `[labels]` in `dropoff.toml`, and `vader`, sentiment of English texts by the lexicon
of Hutto and Gilbert (2014), an optional extra. Texts are data: nothing in them is run, and no word of theirs is a
pattern.
"""

import hashlib
import importlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dropoff.errors import InvalidInput, Missing

T = TypeVar("T")
MOST_PHRASES = 1000
MOST_LETTERS = 100
_FORMAT = 1
"""Goes into the version of the rules: another one where the same rules would label a text differently."""

Phrases = Annotated[list[str], Field(max_length=MOST_PHRASES)]


class Label(NamedTuple):
    """What a message means. `intent_confidence` from 0 to 1, `sentiment` from -1 to 1; None: cannot be told."""

    intent: str | None = None
    intent_confidence: float | None = None
    sentiment: float | None = None


NOTHING = Label()


class Labeller(Protocol):
    """Labels texts, each by itself: the same text is always given the same label by one `source`."""

    @property
    def source(self) -> str:
        """Its `name@version`, as it stands in `label_source`."""
        ...

    def label(self, texts: Sequence[str]) -> Sequence[Label]:
        """A label for each text, in order."""
        ...


class SentimentRules(BaseModel):
    """`[labels.sentiment]`: words and phrases that please and displease."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    positive: Phrases = []
    negative: Phrases = []

    @field_validator("positive", "negative")
    @classmethod
    def _of_words(cls, phrases: list[str], info: ValidationInfo) -> list[str]:
        return _checked(str(info.field_name), phrases)


class LabelRules(BaseModel):
    """`[labels]`: words and phrases by intent, and those of a sentiment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intents: dict[str, Phrases] = Field(default={}, max_length=200)
    sentiment: SentimentRules = SentimentRules()

    @field_validator("intents")
    @classmethod
    def _of_words(cls, intents: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, phrases in intents.items():
            if not name.strip() or len(name) > MOST_LETTERS:
                raise InvalidInput("intents", name, f"a name of 1 to {MOST_LETTERS} characters")
            _checked(name, phrases)
        return intents


def _checked(name: str, phrases: list[str]) -> list[str]:
    for phrase in phrases:
        if not _words(phrase) or len(phrase) > MOST_LETTERS:
            rule = f"words with letters or digits, at most {MOST_LETTERS} characters"
            raise InvalidInput(name, phrase, rule)
    return phrases


_WORD = re.compile(r"\w+")


def _words(text: str) -> str:
    """The words of a text, each between blanks of its own, so that a part of it is found only at its borders."""
    return "".join(f" {word} " for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


class Rules:
    """Labels by words and phrases, whatever their capitals and whatever stands between their words.

    The intent is that of the longest phrase (in words) in a text; of equally long ones the first in the file. The
    sentiment is (p - n) / (p + n), for p pleasing and n displeasing phrases in it, where no word counts twice and the
    longer phrase comes first: "not interested" has no "interested". Rules are never sure, so there is no confidence.
    """

    def __init__(self, rules: LabelRules) -> None:
        content = msgspec.json.encode([_FORMAT, list(rules.intents.items()), rules.sentiment.model_dump()])
        self.source = f"rules@{hashlib.sha256(content).hexdigest()[:8]}"
        self._intents = _longest_first((_words(p), name) for name, found in rules.intents.items() for p in found)
        felt = {1: rules.sentiment.positive, -1: rules.sentiment.negative}
        self._felt = _longest_first((_words(p), sign) for sign, found in felt.items() for p in found)

    def label(self, texts: Sequence[str]) -> list[Label]:
        return [self._label(_words(text)) for text in texts]

    def _label(self, words: str) -> Label:
        intent = next((name for phrase, name in self._intents if phrase in words), None)
        count, balance = 0, 0
        for phrase, sign in self._felt:
            if found := words.count(phrase):
                count, balance = count + found, balance + sign * found
                words = words.replace(phrase, "\n")
        return Label(intent, None, balance / count if count else None)


def _longest_first(phrases: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    return sorted(phrases, key=lambda one: -one[0].count(" "))


class Vader:
    """Sentiment of English texts: VADER's compound score. A text in which it knows no word has none, and is not 0."""

    def __init__(self) -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError:
            raise InvalidInput("labeller", "vader", "installed first: pip install 'dropoff[vader]'") from None
        self.source = f"vader@{version('vaderSentiment')}"
        self._scores = SentimentIntensityAnalyzer().polarity_scores

    def label(self, texts: Sequence[str]) -> list[Label]:
        return [self._label(self._scores(text)) for text in texts]

    @staticmethod
    def _label(scores: Mapping[str, float]) -> Label:
        return Label(sentiment=scores["compound"]) if scores["pos"] or scores["neg"] else NOTHING


def load(name: str, rules: LabelRules) -> Labeller:
    """The labeller `rules`, `vader` or `module:attribute`: one of your own, or what makes one when called.

    Raises `InvalidInput` where there is none of that name, or it is none.
    """
    if name == "rules":
        if not (rules.intents or rules.sentiment.positive or rules.sentiment.negative):
            raise Missing("labels", "given in dropoff.toml, with words for an intent or a sentiment")
        return Rules(rules)
    if name == "vader":
        return Vader()
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise InvalidInput("labeller", name, "rules, vader or module:attribute")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
        found = found if hasattr(found, "label") and not isinstance(found, type) else found()
    except Exception as error:  # whatever goes wrong in there, it is no labeller
        raise InvalidInput("labeller", name, f"a labeller that can be loaded: {error!r}") from error
    source = getattr(found, "source", None)
    if not isinstance(source, str) or not _SOURCE.fullmatch(source):
        raise InvalidInput("labeller", name, f"one with a source like name@version, not {source!r}")
    return found


_SOURCE = re.compile(r"[^\s@]{1,64}@[^\s@]{1,64}")


def ask(labeller: Labeller, texts: Sequence[str]) -> list[Label]:
    """The labels of texts; raises `InvalidInput` for an answer that is none."""
    given = labeller.label(texts)
    try:
        labels = [Label(*label) for label in given]
    except TypeError:
        rule = "one that gives each text intent, confidence and sentiment, or None for what it cannot tell"
        raise InvalidInput("labeller", labeller.source, rule) from None
    if len(labels) != len(texts):
        raise InvalidInput("labeller", labeller.source, f"one that gives {len(texts)} labels, not {len(labels)}")
    for intent, confidence, sentiment in labels:
        is_right = intent is None or (isinstance(intent, str) and bool(intent.strip()))
        if not (is_right and _within(confidence, 0, 1) and _within(sentiment, -1, 1)):
            rule = "one whose intents are texts, confidences from 0 to 1 and sentiments from -1 to 1"
            raise InvalidInput("labeller", f"{labeller.source}: {(intent, confidence, sentiment)}", rule)
    return labels


def _within(value: float | None, low: float, high: float) -> bool:
    return value is None or (isinstance(value, int | float) and low <= value <= high)
