"""What pydantic says about settings → one sentence each, with line and path, and without secrets.

Our own checks raise a `flaw` whose `{seen}` becomes the value. What a key or a reference to the environment holds is
never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from gateway.config.settings_file import Path, Problem, Settings

# Complaints that only follow from another one.
_ECHOES: Final = {"default_factory_not_called"}
_WHOLE: Final = "expected a whole number, not {seen}"
_NUMBER: Final = "expected a number, not {seen}"
_FLAG: Final = "expected true or false, not {seen}"
_MAPPING: Final = "expected a mapping, not {seen}"
_LIST: Final = "expected a list, not {seen}"
_WORDS: Final = {
    "missing": "required, but not given",
    "string_type": "expected text, not {seen}",
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "bool_parsing": _FLAG,
    "bool_type": _FLAG,
    "model_type": _MAPPING,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "literal_error": "expected {expected}, not {seen}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}, not {seen}",
    "less_than_equal": "must be at most {le}, not {seen}",
}
_SECRETS: Final = (("key",), ("seal_key",), ("sha256",))
# Comparing every name of a huge configuration with a client's text would cost more than the hint is worth.
_NAMES_COMPARED: Final = 100


def flaw(template: str) -> PydanticCustomError:
    """Something wrong with a value; `{seen}` in the template becomes the value, unless it must not be shown."""
    return PydanticCustomError("config", template)


def flaw_at(path: Path, template: str) -> ValidationError:
    """Something wrong at a place below the value at hand, for a check that compares several."""
    return _all([InitErrorDetails(type=flaw(template), loc=path, input=None)])


def hint(name: str, names: Iterable[str], word: str = "configured") -> str:
    """What someone who wrote an unknown name may have meant: the nearest of the names, else the first ten."""
    known = list(names)
    if nearest := get_close_matches(name[:64], known[:_NAMES_COMPARED], n=1):
        return f'did you mean "{nearest[0]}"?'
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    return f"{word}: {shown or 'none'}"


def only(known: Iterable[str], data: object, validate: Callable[[Any], Any]) -> Any:
    """What `validate` makes of the known settings in `data`; others are refused by name, beside its own complaints."""
    if not isinstance(data, dict):
        return validate(data)
    names = list(known)
    flaws = [_unknown(name, names) for name in data if name not in names]
    try:
        value = validate({name: data[name] for name in data if name in names})
    except ValidationError as caught:
        flaws += [_again(error) for error in caught.errors(include_url=False)]
    if flaws:
        raise _all(flaws)
    return value


def problems(caught: ValidationError, settings: Settings) -> list[Problem]:
    """The complaints about a file's settings, each at its line, once."""
    complaints = [error for error in caught.errors(include_url=False) if error["type"] not in _ECHOES]
    return list(dict.fromkeys(_problem(settings, error) for error in complaints))


def _all(flaws: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data("settings", flaws, hide_input=True)


def _unknown(name: Any, known: Iterable[str]) -> InitErrorDetails:
    text = f"unknown setting; {hint(str(name), known, 'known here')}"
    return InitErrorDetails(type=flaw(text), loc=(name,), input=None)


def _again(error: ErrorDetails) -> InitErrorDetails:
    kind = flaw(error["msg"]) if error["type"] == "config" else error["type"]
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))


def _problem(settings: Settings, error: ErrorDetails) -> Problem:
    place = settings.known(error["loc"])
    path = error["loc"] if error["type"] == "missing" else place
    is_secret = _is_secret(path, error["input"]) or path in settings.from_environment
    template = _WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    text = _filled(template, error.get("ctx", {})).replace("{seen}", _seen(error["input"], is_secret))
    return Problem(settings.lines[place], path, text)


def _is_secret(path: Path, value: object) -> bool:
    """Where a credential stands, or may have been put by mistake, as in place of a client key's settings."""
    if path[-1:] == ("auth",):  # where `Bearer KEY` is written now and then
        return not re.fullmatch(r"[a-z-]{1,16}", str(value))
    return path[-1:] in _SECRETS or (path[:1] == ("keys",) and len(path) < 3)


def _filled(template: str, words: Mapping[str, object]) -> str:
    for word, value in words.items():
        text = f"{value:g}" if isinstance(value, float) else str(value).replace("'", '"')
        template = template.replace(f"{{{word}}}", text)
    return template


def _seen(value: object, is_secret: bool) -> str:
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
        case _ if is_secret:
            return "this value"
        case _:
            text = str(value)[:64]
            return text if re.fullmatch(r"-?[0-9][0-9.]*", text) else f'"{text}"'
