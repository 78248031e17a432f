import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Config, dump_config, load_config, make_config
from pipeline.errors import ConfigError, PipelineError

NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
    lambda name: not set(name) & set("|,;\r\n\t") and name == name.strip() and name
)
CONFIGS = st.builds(
    Config,
    classes=st.lists(NAMES, max_size=4, unique=True).map(tuple),
    task=st.sampled_from(["multiclass", "multilabel"]),
    source_sites=st.lists(st.sampled_from(["north", "no", "1", "null"]), max_size=2).map(tuple),
    window=st.none() | st.tuples(st.floats(-2000, -1), st.floats(0, 5000)),
    learning_rate=st.floats(1e-7, 1.0),
    seed=st.integers(0, 2**31 - 1),
    augment=st.sampled_from(["none", "basic", "scanner", "strong"]),
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:3"]),
)


def test_every_key_has_a_default():
    assert make_config({}) == Config()


@settings(max_examples=60, deadline=None)
@given(CONFIGS)
def test_the_yaml_text_gives_the_same_configuration_back(config):
    assert make_config(yaml.safe_load(dump_config(config))) == config


def test_file_and_back(tmp_path):
    config = Config(classes=("no", "yes"), window=(-160.0, 240.0), seed=3)
    (tmp_path / "c.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config


def test_an_assignment_wins_over_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 1\nepochs: 4\n")
    config = load_config(tmp_path / "c.yaml", ["seed=2", "classes=[normal, pneumonia]", "window=[-160, 240]"])
    assert (config.seed, config.epochs, config.classes) == (2, 4, ("normal", "pneumonia"))
    assert config.window == (-160.0, 240.0)


def test_the_value_of_an_assignment_may_hold_an_equals_sign():
    assert load_config(None, ["weights=/a=b/net.pth"]).weights == "/a=b/net.pth"


@pytest.mark.parametrize("text", ["learning_rate=1e-3", "learning_rate=0.001", "learning_rate=1.0e-3"])
def test_a_rate_in_any_notation(text):
    assert load_config(None, [text]).learning_rate == 0.001


def test_an_empty_file_is_the_default(tmp_path):
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "c.yaml") == Config()


def test_an_unknown_key_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"config: learning_rat: .*known keys: classes, .*learning_rate"):
        make_config({"learning_rat": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0),
        ("learning_rate", 1.5),
        ("learning_rate", float("nan")),
        ("sensitivity_target", 1),
        ("sensitivity_target", float("nan")),
        ("image_size", 16),
        ("seed", -1),
        ("seed", 2**31),
        ("device", "tpu"),
        ("device", "cuda:x"),
        ("task", "regression"),
        ("classes", ["a", "a"]),
        ("classes", ["a|b"]),
        ("classes", ["a", ""]),
        ("classes", "normal"),
        ("window", [240, -160]),
        ("window", [1, 1]),
        ("window", [float("nan"), 1]),
        ("window", [float("-inf"), float("inf")]),
        ("batch_size", 2.5),
        ("seed", None),
    ],
)
def test_values_out_of_range_are_refused_by_the_name_of_their_key(key, value):
    with pytest.raises(ConfigError) as caught:
        make_config({key: value})
    assert str(caught.value).startswith("config: ")
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [("a: [1", "cannot be read as YAML"), ("- 1\n- 2\n", "expected `key: value` lines"), ("just words", "expected")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content, words):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "c.yaml")


def test_keys_that_are_no_names_are_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("1: 2\n")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "c.yaml")


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "c.yaml", tmp_path / "nowhere.yaml"):
        with pytest.raises(ConfigError, match="cannot be read as YAML"):
            load_config(path)


def test_yaml_tags_make_no_objects(tmp_path):
    (tmp_path / "c.yaml").write_text(f"backbone: !!python/object/apply:pathlib.Path.touch ['{tmp_path / 'marker'}']\n")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "c.yaml")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(("text", "words"), [("seed", "expected key=value"), ("seed=[1", "the value is not YAML")])
def test_an_assignment_that_is_none_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(None, [text])


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 1


def test_the_error_is_one_of_pipelines():
    assert issubclass(ConfigError, PipelineError)
    assert issubclass(ConfigError, ValueError)


def test_one_site_needs_no_brackets():
    assert load_config(None, ["target_sites=nih"]).target_sites == ("nih",)
