import pytest
from pydantic import ValidationError

from pipeline.card.markdown import plain
from pipeline.card.statements import LONGEST, QUESTIONS, Statements
from pipeline.config import Config, dump_config, load_config, make_config
from pipeline.errors import ConfigError


def test_only_what_is_stated_is_written(tmp_path):
    config = Config(card={"ethics": "  board 7\nwaived  "})
    assert config.card.ethics == "board 7\nwaived"
    assert config.model_dump(mode="json")["card"] == {"ethics": "board 7\nwaived"}
    assert set(config.card.unstated) == set(QUESTIONS) - {"ethics"}
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config
    assert load_config(None, ["card={funding: none}"]).card.funding == "none"


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"ethic": "x"}, r"config: card\.ethic: .*known keys: authors, copyright"),
        ({"ethics": 7}, r"config: card\.ethics: .*valid string"),
        ({"ethics": "x" * (LONGEST + 1)}, f"at most {LONGEST} characters"),
        ({"ethics": "a\x1b[2J"}, r"cannot be shown \(U\+001B\)"),
        ({"ethics": "a\u202eb"}, r"cannot be shown \(U\+202E\)"),
    ],
)
def test_what_cannot_be_a_statement_is_refused(card, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"card": card})


def test_statements_are_fixed():
    with pytest.raises(ValidationError):
        Statements().ethics = "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lp_ft, resnet18@layer1+layer2", "lp_ft, resnet18@layer1+layer2"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("![x](http://e)", r"!\[x\](http://e)"),
        ("_a_ *b* `c` ~d~", r"\_a\_ \*b\* \`c\` \~d\~"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("a|b\\|c", r"a\|b\\\|c"),
        ("two\n\n  lines\t.", "two lines ."),
    ],
)
def test_text_is_shown_as_written(text, shown):
    assert plain(text) == shown
