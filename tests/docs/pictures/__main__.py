"""Writes the pictures."""

from tests.docs.pictures import FOLDER, PICTURES

FOLDER.mkdir(parents=True, exist_ok=True)
for name, picture in PICTURES.items():
    (FOLDER / f"{name}.svg").write_text(picture(), encoding="utf-8")
