import pytest

from models.errors import ModelError, UnknownNameError
from models.registry import lookup

TABLE = {"linear_probe": 1, "lp_ft": 2, "full": 3}


def test_a_known_name_gives_its_value():
    assert lookup("strategy", TABLE, "lp_ft") == 2


def test_an_unknown_name_tells_kind_nearest_and_all_known():
    with pytest.raises(UnknownNameError) as caught:
        lookup("strategy", TABLE, "linear_prob")
    text = str(caught.value)
    assert text.startswith("unknown strategy 'linear_prob'; did you mean linear_probe?")
    assert all(name in text for name in TABLE)


def test_without_a_near_name_nothing_is_guessed():
    with pytest.raises(UnknownNameError, match=r"^unknown strategy 'zzz' \(known: linear_probe, lp_ft, full\)$"):
        lookup("strategy", TABLE, "zzz")


def test_the_error_is_a_key_error_whose_text_is_not_quoted():
    error = UnknownNameError("plain words")
    assert isinstance(error, KeyError)
    assert isinstance(error, ModelError)
    assert str(error) == "plain words"
    assert str(UnknownNameError()) == ""
