"""What one running service is made of; every request finds it at ``app.state.parts``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.requests import HTTPConnection

from messaging import Service
from runtime.clock import Clock
from runtime.health import Health
from runtime.ids import Ids
from runtime.settings import Settings
from runtime.store import Store
from web.keys import KeyRing
from web.rates import Pace
from web.translations import Translations

if TYPE_CHECKING:
    from messaging.engine import Engine
    from web.figures import Figures
    from web.pages import Pages


@dataclass
class Parts:
    service: Service
    settings: Settings
    store: Store
    clock: Clock
    ids: Ids
    engine: Engine
    keys: KeyRing
    pace: Pace
    translations: Translations
    pages: Pages
    health: Health
    figures: Figures

    @property
    def secure(self) -> bool:
        """True when the house is reached by https: cookies then bear ``__Host-`` and Secure."""
        return self.settings.public_url.startswith("https://")

    def cookie(self, name: str) -> str:
        return f"__Host-{name}" if self.secure else name


def parts_of(connection: HTTPConnection) -> Parts:
    return cast(Parts, connection.app.state.parts)
