"""The pages of the front door, written anew from words.toml and frame.html by `make docs`.

The drawings are those of `web`; a test sees that the files are current.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

HERE = Path(__file__).parent
PAGES = HERE.parent


def texts() -> dict[str, str]:
    """Each page by its file's name."""
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(HERE), PackageLoader("web")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    frame = made.get_template("frame.html")
    words = tomllib.loads((HERE / "words.toml").read_text("utf-8"))
    return {f"{name}.html": frame.render(page).lstrip() for name, page in words.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (PAGES / name).write_text(text, "utf-8")
