"""What notifications may be told besides the settings that all services share."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from runtime.settings import Settings


class NotificationsSettings(Settings):
    """Where e-mails go is in the shared settings (VICINATO_SMTP_…)."""

    notifications_smtp_timeout: float = Field(
        60,
        gt=0,
        le=600,
        description="seconds for the mail server to take one e-mail, before and after its text",
    )

    @property
    def sender(self) -> str:
        """The address that e-mails come from."""
        return self.smtp_sender or f"vicinato@{self.own_host}"

    @property
    def own_host(self) -> str:
        """The name of this house on the net."""
        return urlsplit(self.public_url).hostname or "localhost"
