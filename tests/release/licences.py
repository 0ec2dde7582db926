"""The page of licences: of everything an image installs, as the packages' own metadata tell them."""

from __future__ import annotations

from importlib.metadata import PackageMetadata, metadata
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from tests.release import lock

CLASSIFIED: Final = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Licences by the classifiers that say exactly one; "BSD License" is one of several."""
_CLASSIFIER: Final = "License :: OSI Approved :: "
_HEAD: Final = """\
# Licences of what an image installs

Triglot itself is under the Apache License 2.0. What `deploy/requirements.lock` has installed beside it is under these,
as the packages tell it themselves; each brings its text along, in its `*.dist-info` folder. Nothing of any package is
copied into Triglot or changed, so what MPL-2.0 asks for changed files asks nothing here. `make docs` prints this page.

| package | licence | required by |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page in Markdown."""
    return _HEAD + "".join(
        f"| {name} | {licence(metadata(name))} | {', '.join(each.via)} |\n"
        for name, each in sorted(lock.read().items())
    )


def licence(told: PackageMetadata) -> str:
    """The SPDX expression of a package's licence. Raises ValueError where its metadata name none exactly."""
    for expression in (*_fields(told), _classified(told)):
        try:
            return str(canonicalize_license_expression(expression))
        except InvalidLicenseExpression:
            continue
    raise ValueError(f"{told['Name']}: its metadata name no licence that can be told apart")


def _fields(told: PackageMetadata) -> list[str]:
    return [told[name] for name in ("License-Expression", "License") if name in told]


def _classified(told: PackageMetadata) -> str:
    """What the classifiers offer: several are a choice, as the packages that have several say in their texts."""
    named = [each.removeprefix(_CLASSIFIER) for each in told.get_all("Classifier", []) if each.startswith(_CLASSIFIER)]
    return " OR ".join(sorted(CLASSIFIED.get(each, "?") for each in named))
