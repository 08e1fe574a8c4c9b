"""Fixed sentences in Dutch: numbers keep their places, what is unknown stays."""

import pytest

from missie_impact.report.phrases import NUMBER, PHRASES, phrase


def test_numbers_return_in_their_order_with_dutch_marks():
    found = phrase("structural: active in at least 3 of t+1..t+4; firm level", "nl")
    assert found == "structureel: actief in ten minste 3 van t+1..t+4; niveau: bedrijf"
    assert phrase("the total that follows here: truth 8.3, estimate 8.2.", "nl").endswith(
        "waarheid 8,3, schatting 8,2."
    )
    assert phrase("recent mission", "en") == "recent mission"


def test_what_is_unknown_stays():
    assert phrase("never heard of", "nl") == "never heard of"
    assert phrase("recent mission; never heard of", "nl") == "recente missie; never heard of"
    assert phrase("", "nl") == ""


@pytest.mark.parametrize(("english", "dutch"), PHRASES.items())
def test_each_number_has_a_place(english, dutch):
    assert english.count("#") == dutch.count("#")
    assert not NUMBER.search(english)
    assert english != dutch or english == "panel"
