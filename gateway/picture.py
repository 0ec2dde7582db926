"""An explanation of a request, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.config.setting import Setting
from gateway.explain import Explanation, Step

_WRITTEN, _DEFAULT, _LOST, _REFUSED = "bold", "dim", "yellow", "red"


def picture(explanation: Explanation) -> RenderableType:
    """Targets in order, then the settings that apply; those somebody wrote stand out."""
    return Group(_head(explanation), "", _targets(explanation), "", _settings(explanation), "", _upstreams(explanation))


def _head(explanation: Explanation) -> Text:
    how = "streamed" if explanation.stream else "whole"
    strict = ", strict" if explanation.is_strict else ""
    about = f"{explanation.dialect}, {how}{strict}, a prompt of about {explanation.prompt_tokens} tokens"
    return Text.assemble(
        (explanation.model, "bold"), f" ({about})\nroute ", (explanation.route, "bold"), f": {explanation.match}"
    )


def _table(*names: str) -> Table:
    """Columns that fold what is too long for them: whoever asks for an explanation wants all of it."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _targets(explanation: Explanation) -> Table:
    table = _table("", "target", "as", "its answer is", "why there", "what it would not get")
    for number, step in enumerate(explanation.steps, 1):
        way = "passed through" if step.passes else f"translated from {step.dialect}"
        context = f", context {step.context}" if step.context else ""
        table.add_row(str(number), Text(step.upstream), Text(step.model), way, step.reason + context, _lost(step))
    return table


def _lost(step: Step) -> Text:
    if step.refused is not None:
        return Text(f"anything: {step.refused.message}", _REFUSED)
    lists = (("dropped", step.dropped), ("adapted", step.adapted))
    told = "\n".join(f"{what}: {', '.join(names)}" for what, names in lists if names)
    return Text(told or "nothing is lost", _LOST if told else _DEFAULT)


def _settings(explanation: Explanation) -> Table:
    table = _table(escape(f"routes.{explanation.route}"), "")
    for setting in explanation.settings:
        table.add_row(setting.path, _value(setting))
    return table


def _upstreams(explanation: Explanation) -> Table:
    """A column for each upstream: which settings there are may differ, where a section is turned off."""
    columns = {step.upstream: {setting.path: setting for setting in step.settings} for step in explanation.steps}
    table = _table("upstreams", *map(escape, columns))
    for path in dict.fromkeys(path for column in columns.values() for path in column):
        table.add_row(path, *_cells(path, columns.values()))
    return table


def _cells(path: str, columns: Iterable[dict[str, Setting]]) -> Iterator[Text]:
    for column in columns:
        yield _value(column[path]) if path in column else Text()


def _value(setting: Setting) -> Text:
    return Text(setting.text, _WRITTEN if setting.is_written else _DEFAULT)
