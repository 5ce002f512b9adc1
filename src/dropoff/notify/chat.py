"""Messages to mail, Slack, Teams, Telegram and what else Apprise knows (the extra `notify`)."""

import logging

from dropoff.errors import InvalidInput
from dropoff.notify.base import Message, NotSent
from dropoff.receivers import Receiver


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
        try:
            result = self._apprise.notify(
                body=message.text.body, title=message.text.subject, body_format="text", timeout=self._receiver.timeout
            )
        except Exception as error:
            raise NotSent(self.name, self._receiver.masked(str(error)), retry=True) from None
        if not result:
            said = "; ".join(entry.message for entry in result.logs()) or result.status.name.lower()
            raise NotSent(self.name, self._receiver.masked(said), retry=True)
