"""``python -m benchmarks.backing_up FOLDER FILE NAME=URL…``: a backup as `vicinato backup` takes
it, in a process of its own as there."""

from __future__ import annotations

import sys
from pathlib import Path

from vicinato.backup.take import Order, take
from vicinato.folder import Folder

if __name__ == "__main__":
    folder, file, *stores = sys.argv[1:]
    urls = dict(store.split("=", 1) for store in stores)
    take(Folder(Path(folder)), Order(urls, Path(file), secrets=False, cluster=""))
