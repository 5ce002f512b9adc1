"""Messages to mail, Slack, Teams, Telegram and what else Apprise knows (the extra `notify`)."""

import logging
from typing import Any

from dropoff.errors import InvalidInput
from dropoff.notify.base import Letter, Message, NotSent
from dropoff.project.receivers import Receiver


class AppriseNotifier:
    """One address of Apprise. It takes plain text; Apprise makes of it what the service needs.

    Apprise tells success from failure and no more: every failure is tried again. Raises `InvalidInput` if it is not
    installed, or does not know the address.
    """

    def __init__(self, receiver: Receiver) -> None:
        try:
            import apprise
        except ImportError:
            rule = "webhook, or installed: pip install 'dropoff[notify]'"
            raise InvalidInput(f"receivers.{receiver.name}.kind", receiver.kind, rule) from None
        self.name = receiver.name
        self._receiver = receiver
        # What it says is taken from its results, with the secrets out.
        logging.getLogger("apprise").propagate = False
        asset = apprise.AppriseAsset(app_id="Dropoff", app_desc="Dropoff", plugin_paths=[], http_redirects=False)
        self._apprise = apprise.Apprise(asset=asset)
        if not self._apprise.add(receiver.address()):
            raise InvalidInput(f"receivers.{receiver.name}.url", "…", "an address that Apprise knows")

    def send(self, message: Message) -> None:
        """Hand it over, within the receiver's timeout. Raises `NotSent`."""
        self._notify(message.text.subject, message.text.body)

    def deliver(self, letter: Letter) -> None:
        """The few lines of a report, with the file where the service takes one. Raises `NotSent`."""
        from apprise.attachment.memory import AttachMemory

        name, media_type, content = letter.attachment
        takes = all(service.attachment_support for service in self._apprise.services)
        file = AttachMemory(content=content, name=name, mimetype=media_type) if takes else None
        self._notify(letter.title, letter.body, file)

    def _notify(self, title: str, body: str, file: Any = None) -> None:
        try:
            result = self._apprise.notify(
                body=body, title=title, body_format="text", attach=file, timeout=self._receiver.timeout
            )
        except Exception as error:
            raise NotSent(self.name, self._receiver.masked(str(error)), retry=True) from None
        if not result:
            said = "; ".join(entry.message for entry in result.logs()) or result.status.name.lower()
            raise NotSent(self.name, self._receiver.masked(said), retry=True)
