"""`python -m vicinato.services_settings`: checks the settings that go on to every service.

Ends with 0, or with 1 and one sentence on standard error.
"""

from __future__ import annotations

import os
import sys

from runtime.settings import SettingsError, load


def main() -> int:
    told = {name: value for name, value in os.environ.items() if name != "VICINATO_NO_SKIPS"}
    try:
        # A database and a name that no service has: what only one of them knows is left to it.
        load("vicinato", {**told, "VICINATO_DATABASE_URL": "sqlite:////nowhere.db"})
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
