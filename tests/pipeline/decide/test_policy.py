import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Config, make_config
from pipeline.decide.policy import Policy, configured_policy, parse_policy
from pipeline.errors import ConfigError, PolicyError

SHARES = st.floats(1e-6, 1 - 1e-6)
DAYS = st.integers(2, 10**6).flatmap(lambda of: st.tuples(st.integers(1, of - 1), st.just(of)))
POLICIES = st.one_of(
    st.builds(Policy, kind=st.sampled_from(["false_alarm", "sensitivity"]), amount=SHARES),
    DAYS.map(lambda pair: Policy(kind="capacity", amount=pair[0], of=pair[1])),
    st.builds(Policy, kind=st.just("cost"), amount=st.floats(1e-6, 1e6), of=SHARES),
)


@given(POLICIES)
def test_text_and_record_are_the_same_policy(policy):
    assert parse_policy(policy.text) == policy
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("false_alarm=0.05", ("false_alarm", 0.05, 0)),
        (" sensitivity = .9 ", ("sensitivity", 0.9, 0)),
        ("capacity=20/200", ("capacity", 20, 200)),
        ("cost=10@5e-2", ("cost", 10, 0.05)),
    ],
)
def test_the_grammar(text, expected):
    policy = parse_policy(text)
    assert (policy.kind, policy.amount, policy.of) == expected
    assert policy.words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected false_alarm=0.05"),
        ("recall=0.9", "expected false_alarm=0.05"),
        ("false_alarm", "expected false_alarm=0.05"),
        ("false_alarm=nan", "expected false_alarm=0.05"),
        ("false_alarm=5", "expected a share"),
        ("false_alarm=0", "greater than 0"),
        ("sensitivity=1", "expected a share"),
        ("capacity=20", "expected false_alarm=0.05"),
        ("capacity=200/200", "fewer readings than scans"),
        ("capacity=1.5/20", "whole numbers"),
        ("cost=10", "expected false_alarm=0.05"),
        ("cost=10@1", "prevalence"),
        ("cost=1e999@0.5", "finite|less than"),
    ],
)
def test_what_is_no_policy_is_told_what_one_is(text, words):
    with pytest.raises(PolicyError, match=words):
        parse_policy(text)


def test_the_default_follows_the_task():
    assert configured_policy("", "one_class", 0.9).text == "false_alarm=0.05"
    assert configured_policy("", "multiclass", 0.9).text == "sensitivity=0.9"
    assert configured_policy("capacity=1/9", "one_class", 0.9).text == "capacity=1/9"


def test_the_config_takes_a_policy_and_refuses_nonsense():
    assert Config().policy == ""
    assert make_config({"policy": "capacity = 20 / 200"}).policy == "capacity=20/200"
    with pytest.raises(ConfigError, match=r"policy: .*share"):
        make_config({"policy": "false_alarm=5"})
