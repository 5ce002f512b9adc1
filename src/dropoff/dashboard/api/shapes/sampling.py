"""The answer to sample."""

from typing_extensions import TypedDict

from dropoff.dashboard.api.shapes.common import Answer


class SampleDefinition(TypedDict):
    """The stage that is a success, and how conversations are chosen."""

    success: str
    text: str


class SampleLine(TypedDict):
    """A message beside which the talk takes a turn."""

    position: int
    timestamp: str
    sender: str
    intent: str | None
    content: str | None


class SampleConversation(TypedDict):
    """A conversation: what it differs from others in, how many messages it has, and some of them."""

    id: str
    started_at: str
    stage: str
    outcome: str
    channel: str | None
    first_message_variant: str | None
    bot_version: str | None
    last_intent: str | None
    objection: str | None
    messages: int
    lines: list[SampleLine]


class SampleGroup(TypedDict):
    """Some of `total` conversations."""

    total: int
    conversations: list[SampleConversation]


class SampleAnswer(Answer):
    """Conversations to read."""

    definition: SampleDefinition
    failed: SampleGroup
    successful: SampleGroup
    test_conversations: int
