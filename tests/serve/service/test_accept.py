"""Which kind of answer an `Accept` header asks for; the expected ones follow from RFC 9110, 12.5.1."""

import pytest

from metseg.serve.service.accept import preferred


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, "a/json"),
        ("", "a/json"),
        ("*/*", "a/json"),
        ("a/json", "a/json"),
        ("i/png", "i/png"),
        ("I/PNG", "i/png"),
        ("i/*", "i/png"),
        ("a/json, i/png", "a/json"),
        ("i/png, a/json", "a/json"),
        ("i/png, */*", "i/png"),  # ranked alike, but named
        ("a/json;q=0.4, i/png;q=0.5", "i/png"),
        ("a/json ; q=1.0, i/png; q=0.9", "a/json"),
        ("a/json;q=0, */*", "i/png"),  # the most precise range decides
        ("a/*;q=0, a/json", "a/json"),
        ("i/avif,i/webp,i/*,*/*;q=0.8", "i/png"),  # a browser's <img>
        ("text/html, */*;q=0.1", "a/json"),
        ("i/png;level=1;q=0.2, a/json;q=0.1", "i/png"),
        ("text/html", None),
        ("a/json;q=0, i/*;q=0", None),
        ("i/png;q=high", None),
        ("i/png;q=nan", None),
        ("i/png;q=2", None),
        (",;,", None),
    ],
)
def test_the_kind_that_is_ranked_highest_is_chosen(header, chosen):
    assert preferred(header, ("a/json", "i/png")) == chosen
