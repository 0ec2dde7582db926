"""Writes the pages of the reference."""

from tests.docs.reference import FOLDER, PAGES, file_of

FOLDER.mkdir(parents=True, exist_ok=True)
for name, page in PAGES.items():
    file_of(name).write_text(page(), encoding="utf-8")
