import pytest

from sksemantic._prompt import Prompt


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Classify.", Prompt("Classify.")),
        ("Review: {text}", Prompt("Review: ", "", True)),
        ("{text} It was", Prompt("", " It was", True)),
        ('"{text}"\nIt was', Prompt('"', '"\nIt was', True)),
        ("a {{set}} of", Prompt("a {set} of")),
        ("{{text}} {text}", Prompt("{text} ", "", True)),
        (" kept as it is ", Prompt(" kept as it is ")),
    ],
)
def test_parse_when_valid_then_splits_at_the_slot(template, expected):
    assert Prompt.parse(template) == expected


@pytest.mark.parametrize(
    ("template", "got"),
    [
        ("{text} and {text}", "{text}, {text}"),
        ("Review: {review}", "{review}"),
        ("{}", "{}"),
        ("{0}", "{0}"),
        ("{text} {other}", "{text}, {other}"),
        ("{text!r}", "{text!r}"),
        ("{text:>10}", "{text:>10}"),
        ("{text.upper}", "{text.upper}"),
    ],
)
def test_parse_when_other_slots_then_names_them_and_the_remedy(template, got):
    with pytest.raises(ValueError) as caught:
        Prompt.parse(template)
    message = str(caught.value)
    assert "The 'prompt' parameter may contain at most one slot" in message
    assert f"Got {got} in {template!r} instead." in message
    assert "Literal braces are doubled" in message


@pytest.mark.parametrize("template", ["", "   ", "\n", "{text}", " {text}\n"])
def test_parse_when_empty_then_refused(template):
    with pytest.raises(ValueError, match="'prompt' parameter must contain some text"):
        Prompt.parse(template)


@pytest.mark.parametrize("template", ["an open {brace", "a closing } brace", "{text"])
def test_parse_when_braces_are_unbalanced_then_refused(template):
    with pytest.raises(ValueError, match="'prompt' parameter is not a valid template"):
        Prompt.parse(template)
