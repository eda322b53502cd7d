"""A mail server over SMTP, and what its answers mean.

What counts is whether the server may have taken the message: that is so from the moment at which
its text is sent. Whatever goes wrong before is safe to try again; a connection that is lost after
is an answer that is lost. A refusal of the sender or of our sign-in is our own fault, never that of
the person's address, so it is tried again and does not call the address bad.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from notifications.domain.delivery import Answer
from notifications.settings import NotificationsSettings
from runtime.settings import secret

TLS_AT_ONCE = 465
"""The port on which a mail server speaks TLS from the first byte (RFC 8314 §7.3); many providers
have no other. On the rest TLS begins after the greeting, by STARTTLS."""


@dataclass(frozen=True)
class Reply:
    """The answer, and the server's code or what happened instead of one. No text of the server:
    it quotes addresses."""

    answer: Answer
    code: str


class Post:
    """One connection to the mail server, kept while there is something to send."""

    def __init__(self, settings: NotificationsSettings) -> None:
        self._settings = settings
        self._limit = settings.notifications_smtp_timeout
        self._server: SMTP | None = None

    async def send(self, text: bytes, to: str) -> Reply:
        """Hand one e-mail over; never raises for what the server does."""
        server, refused = await self._named(to)
        if server is None:
            return refused
        try:
            async with asyncio.timeout(self._limit):
                response = await server.data(text)
        except SMTPDataError as error:
            if 400 <= error.code < 600:
                await self._forget_envelope(server)
                return _refused(error.code)
            return self._lost(f"{error.code}")
        except (SMTPException, OSError, TimeoutError) as error:
            return self._lost(type(error).__name__)
        return Reply(Answer.TAKEN, str(response.code))

    async def close(self) -> None:
        """End the connection politely, if it is there."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(SMTPException, OSError, TimeoutError):
            async with asyncio.timeout(min(self._limit, 5)):
                await server.quit()
        server.close()

    def drop(self) -> None:
        """Leave without a word."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _named(self, to: str) -> tuple[SMTP | None, Reply]:
        """A server that waits for the text, with sender and recipient named; or why not."""
        while True:
            kept = self._server is not None
            try:
                async with asyncio.timeout(self._limit):
                    server = await self._connected()
                    await server.mail(self._settings.sender)
                    await server.rcpt(to)
            except SMTPRecipientRefused as error:
                if self._server is not None:
                    await self._forget_envelope(self._server)
                return None, _refused(error.code)
            except SMTPServerDisconnected as error:
                self.drop()
                if not kept:  # a connection that had been idle may be closed: once more, anew
                    return None, Reply(Answer.LATER, type(error).__name__)
            except SMTPResponseException as error:
                self.drop()
                return None, Reply(Answer.LATER, str(error.code))
            except Exception as error:  # also our own: no text has left, so nothing is unknown
                self.drop()
                return None, Reply(Answer.LATER, type(error).__name__)
            else:
                return server, Reply(Answer.LATER, "")

    async def _connected(self) -> SMTP:
        if self._server is None:
            settings = self._settings
            at_once = settings.smtp_port == TLS_AT_ONCE
            self._server = SMTP(
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user or None,
                password=secret(settings.smtp_secret_file, "smtp_secret_file") or None,
                use_tls=settings.smtp_starttls and at_once,
                start_tls=settings.smtp_starttls and not at_once,
                local_hostname=settings.own_host,
                timeout=self._limit,
            )
            await self._server.connect()
            await self._server.ehlo()
        return self._server

    async def _forget_envelope(self, server: SMTP) -> None:
        """Ready for the next e-mail; a server that cannot do that is left."""
        try:
            async with asyncio.timeout(self._limit):
                await server.rset()
        except (SMTPException, OSError, TimeoutError):
            self.drop()

    def _lost(self, code: str) -> Reply:
        self.drop()
        return Reply(Answer.LOST, code)


def _refused(code: int) -> Reply:
    return Reply(Answer.NEVER if code >= 500 else Answer.LATER, str(code))
