"""``python -m web.translations check|extract PACKAGE...``."""

import sys

from web.translations.catalogs import main

sys.exit(main(sys.argv[1:]))
