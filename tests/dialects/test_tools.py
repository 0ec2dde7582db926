"""Names, ids and free text of tools, towards any upstream."""

from __future__ import annotations

import re

import pytest

from gateway.dialects.report import Report
from gateway.dialects.tools import (
    ToolNames,
    allowed_tools,
    callable_tools,
    custom_description,
    drop_choice,
    spell_id,
    wrap_custom,
)
from gateway.errors import Unsupported
from gateway.neutral.request import (
    ChoiceMode,
    CustomTool,
    FunctionTool,
    HostedTool,
    Request,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
    Turn,
)
from gateway.neutral.restoring import ClientTool, unwrap_custom


def request(*tools: Tool, calls: tuple[ToolCall, ...] = (), choice: ToolChoice | None = None) -> Request:
    return Request("demo", (Turn(Role.ASSISTANT, calls),), tools=tools, tool_choice=choice)


def test_names_that_fit_stay_and_need_no_restoring() -> None:
    names = ToolNames(request(FunctionTool("get_weather")))
    assert names.spell("get_weather") == "get_weather"
    assert names.restored == {}


def test_long_names_with_one_beginning_stay_apart() -> None:
    """Pitfall 98."""
    one, two = "x" * 70 + "one", "x" * 70 + "two"
    names = ToolNames(request(FunctionTool(one), FunctionTool(two)))
    spelled = {names.spell(one), names.spell(two)}
    assert len(spelled) == 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{64}", name) for name in spelled)
    assert {tool.name for tool in names.restored.values()} == {one, two}
    assert ToolNames(request(FunctionTool(one))).spell(one) == names.spell(one), "no state between requests"
    assert ToolNames(request(FunctionTool(one)), limit=128).spell(one) == one


@pytest.mark.parametrize("name", ["a.b", "werkzeug ü", "a/b"])
def test_names_with_other_characters_are_mended_and_restored(name: str) -> None:
    names = ToolNames(request(FunctionTool(name)))
    assert names.restored == {names.spell(name): ClientTool(name)}


def test_names_of_the_history_are_restored_too() -> None:
    """mapping.md §5.2: the tools list may have changed since."""
    names = ToolNames(request(calls=(ToolCall("1", "old.tool", "{}"),)))
    assert names.restored == {names.spell("old.tool"): ClientTool("old.tool")}


def test_namespaces_become_part_of_the_name() -> None:
    """Pitfall 106; and a plain tool that is called the same keeps its name."""
    names = ToolNames(request(FunctionTool("say", namespace="ns"), FunctionTool("ns__say"), FunctionTool("other")))
    assert names.spell("ns__say") == "ns__say"
    assert names.spell("say", "ns") != "ns__say"
    assert names.restored[names.spell("say", "ns")] == ClientTool("say", "ns")
    assert ToolNames(request(FunctionTool("say", namespace="ns"))).spell("say", "ns") == "ns__say"


def test_free_text_tools_are_restored_by_kind() -> None:
    names = ToolNames(request(CustomTool("patch")))
    assert names.restored == {"patch": ClientTool("patch", kind="custom")}
    assert unwrap_custom(wrap_custom('a "b"\n')) == 'a "b"\n'


def test_a_grammar_goes_into_the_description() -> None:
    """Pitfall 107."""
    tool = CustomTool("patch", "Patches.", {"type": "grammar", "syntax": "lark", "definition": "start: /x/"})
    assert custom_description(tool) == "Patches.\n\nThe input must follow this lark grammar:\nstart: /x/"
    assert custom_description(CustomTool("patch")) == ""


FORM = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def test_ids_that_fit_stay_and_others_become_a_hash() -> None:
    """Pitfall 99."""
    assert spell_id("toolu_1", FORM, "toolu_") == "toolu_1"
    one, two = spell_id("functions.Bash:0", FORM, "toolu_"), spell_id("functions.Bash.0", FORM, "toolu_")
    assert one != two
    assert FORM.fullmatch(one)
    assert one == spell_id("functions.Bash:0", FORM, "toolu_")


HOSTED = HostedTool("openai", "web_search", {}, where="tools.0")


def test_hosted_tools_are_dropped_by_name() -> None:
    """Pitfall 108."""
    asked = request(HOSTED, FunctionTool("f"))
    report = Report(asked)
    assert callable_tools(asked, report) == (FunctionTool("f"),)
    assert report.dropped == ("tools.web_search",)


def test_a_choice_of_a_hosted_tool_is_refused() -> None:
    """mapping.md §3.2."""
    asked = request(HOSTED, choice=ToolChoice(ChoiceMode.NAMED, ("web_search",)))
    with pytest.raises(Unsupported) as raised:
        callable_tools(asked, Report(asked))
    assert raised.value.param == "tool_choice"


def test_a_list_of_allowed_tools_filters_the_others() -> None:
    """mapping.md §5.3."""
    tools = (FunctionTool("a"), CustomTool("b"), FunctionTool("c"))
    allowed = ToolChoice(ChoiceMode.ALLOWED, ("a", "b"), is_required=True)
    report = Report(request(*tools))
    assert allowed_tools(tools, None, report) == (tools, None)
    assert not report.adapted
    assert allowed_tools(tools, allowed, report) == (tools[:2], ToolChoice(ChoiceMode.REQUIRED))
    assert report.adapted == ("tool_choice=tools_filtered",)


def test_a_choice_means_a_tool_by_its_name_or_by_its_namespaces_too() -> None:
    tools = (FunctionTool("say", namespace="ns"), FunctionTool("say"))
    names = ToolNames(request(*tools))
    assert names.spell_choice("ns__say", tools) == names.spell("say", "ns")
    assert names.spell_choice("say", tools[1:]) == "say"
    assert names.spell_choice("unknown", tools) == "unknown"


def test_a_list_of_allowed_tools_that_demands_one_of_none_is_refused() -> None:
    """mapping.md §3: required tools are never dropped in silence."""
    asked = request(choice=ToolChoice(ChoiceMode.ALLOWED, ("x",), is_required=True))
    with pytest.raises(Unsupported):
        drop_choice(asked, Report(asked))
