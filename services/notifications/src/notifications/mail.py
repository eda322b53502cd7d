"""An e-mail: plain text and simple HTML, in one language or in two, with its direction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from notifications import texts
from notifications.commands import HandOver
from notifications.texts import Said
from runtime.refusals import N_

RULE = "\u2014 \u2014 \u2014"

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}")

_TEMPLATES = Environment(
    loader=PackageLoader("notifications"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class NoAddress(ValueError):  # noqa: N818 - it names what is wrong
    """This cannot be an e-mail address: no mail server would take it."""


def sendable(address: str) -> str:
    """The address in ASCII, as every mail server takes it. Raises NoAddress."""
    if not _ADDRESS.fullmatch(address):
        raise NoAddress
    local, _, domain = address.rpartition("@")
    try:
        return f"{local.encode('ascii').decode()}@{domain.encode('idna').decode()}"
    except UnicodeError:
        raise NoAddress from None


def written(
    leased: HandOver, *, sender: str, public_url: str, at: datetime, to: str
) -> EmailMessage:
    """The e-mail of a lease. Its Message-ID follows from the message: a copy that should ever come
    twice is known as one by every mailbox."""
    said = [
        texts.say(
            texts.translations().of(language),
            leased.kind,
            leased.data,
            zone=leased.centre.zone,
            name=leased.name,
        )
        for language in texts.languages_for(leased.language)
    ]
    footers = [
        texts.translations()
        .of(one.language)
        .say(N_("All your messages, and what you want to get:"))
        for one in said
    ]
    inbox = f"{public_url}/notifications/inbox"
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = " / ".join(dict.fromkeys(one.subject for one in said))
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{leased.message_id}@{urlsplit(public_url).hostname}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_plain(said, footers, leased.centre.name, inbox))
    mail.add_alternative(
        _TEMPLATES.get_template("email.html").render(
            said=said, footers=footers, centre=leased.centre.name, url=inbox
        ),
        subtype="html",
    )
    # Last: adding the parts would take it along into the first of them.
    mail["Content-Language"] = ", ".join(one.language for one in said)
    return mail


def _plain(said: Sequence[Said], footers: Sequence[str], centre: str, inbox: str) -> str:
    blocks = [
        "\n".join(
            [*filter(None, [one.about]), *one.sentences, "", *filter(None, [centre]), footer, inbox]
        )
        for one, footer in zip(said, footers, strict=True)
    ]
    return f"\n\n{RULE}\n\n".join(blocks) + "\n"
