"""``python -m web.translations check|extract|unreviewed PACKAGE...``."""

import sys

from web.translations.catalogs import main

sys.exit(main(sys.argv[1:]))
