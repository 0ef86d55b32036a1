import pytest

from sksemantic._inputs.prompt import Prompt


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Classify.", Prompt(("Classify.",))),
        ("Review: {text}", Prompt(("Review: ", ""), ("text",))),
        ("{text} It was", Prompt(("", " It was"), ("text",))),
        ('"{text}"\nIt was', Prompt(('"', '"\nIt was'), ("text",))),
        ("{a}, so {b}?", Prompt(("", ", so ", "?"), ("a", "b"))),
        ("1: {0} 2: {1}", Prompt(("1: ", " 2: ", ""), ("0", "1"))),
        ("{Review Text}!", Prompt(("", "!"), ("Review Text",))),
        ("a {{set}} of", Prompt(("a {set} of",))),
        ("{{text}} {text}", Prompt(("{text} ", ""), ("text",))),
        (" kept as it is ", Prompt((" kept as it is ",))),
    ],
)
def test_parse_when_valid_then_splits_at_the_slots(template, expected):
    assert Prompt.parse(template) == expected


@pytest.mark.parametrize(
    ("template", "got"),
    [
        ("{text} and {text}", "has a slot twice: {text}"),
        ("{0} {1} {0}", "has a slot twice: {0}"),
        ("so {}", "has a slot without a name: {}"),
        ("so {text!r}", "must not format its slots. Got {text!r}"),
        ("so {text:>10}", "must not format its slots. Got {text:>10}"),
    ],
)
def test_parse_when_slots_are_wrong_then_names_them_and_the_remedy(template, got):
    with pytest.raises(ValueError) as caught:
        Prompt.parse(template)
    message = str(caught.value)
    assert f"The 'prompt' parameter {got}" in message
    assert repr(template) in message
    assert "Literal braces are doubled" in message


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        (["", "   ", "\n", "{text}", " {text}\n", "{0}{1}"], "must contain some text"),
        (["an open {brace", "a closing } brace", "{text"], "is not a valid template"),
    ],
)
def test_parse_when_empty_or_unbalanced_then_refused(templates, message):
    for template in templates:
        with pytest.raises(ValueError, match=f"'prompt' parameter {message}"):
            Prompt.parse(template)


@pytest.mark.parametrize(
    ("template", "n_columns", "names", "expected"),
    [
        ("Classify.", 1, None, [0]),
        ("Classify.", 2, None, [0, 1]),
        ("Classify.", 2, ("a", "b"), [0, 1]),
        ("It: {text}", 1, None, [0]),
        ("It: {text}", 1, ("review",), [0]),  # the only column, whatever its name
        ("It: {0}", 1, None, [0]),
        ("It: {review}", 1, ("review",), [0]),
        ("It: {1}, {0}", 2, None, [1, 0]),
        ("It: {b}, {a}", 2, ("a", "b"), [1, 0]),
        ("It: {0}, {b}", 2, ("a", "b"), [0, 1]),
        ("It: {1}, {0}", 2, ("1", "0"), [0, 1]),  # a name comes before a position
        ("{a} {b} {c}", 3, ("c", "a", "b"), [1, 2, 0]),
    ],
)
def test_columns_when_they_match_then_are_in_the_order_of_the_slots(
    template, n_columns, names, expected
):
    assert Prompt.parse("So " + template).columns(n_columns, names) == expected


@pytest.mark.parametrize(
    ("template", "n_columns", "names", "message"),
    [
        ("Classify.", 3, None, "X has 3 columns; with a 'prompt' without slots"),
        ("Classify.", 3, ("a", "b", "c"), r"X has 3 columns \('a', 'b', 'c'\)"),
        ("{a}", 2, ("a", "age"), r"no slot for column\(s\) \{age\} of X.*ColumnTransf"),
        ("{0}", 2, None, r"no slot for column\(s\) \{1\}"),
        ("{review}", 1, None, r"the slot \{review\}.*its slot is \{text\}"),
        ("{c}", 2, ("a", "b"), r"slot \{c\}, but X has no.*has the columns \{a\}, \{b"),
        ("{text}", 2, None, r"slot \{text\}.*columns \{0\}, \{1\}"),
        ("{2}", 2, None, r"the slot \{2\}"),
        ("{a}, {b}", 1, None, r"the slot \{a\}"),
    ],
)
def test_columns_when_they_do_not_match_then_names_them(
    template, n_columns, names, message
):
    with pytest.raises(ValueError, match=message):
        Prompt.parse("So " + template).columns(n_columns, names)


def test_parse_when_a_character_is_cut_in_two_then_refused():
    with pytest.raises(ValueError, match="surrogate .* of the 'prompt' parameter"):
        Prompt.parse("half \ud83d {text}")
