import pickle

import pytest

from flows.seal import SealedError, sealed
from pipeline.errors import LabelsError


def fail(error):
    raise error


def test_the_seal_tells_the_class_and_keeps_the_cause():
    cause = LabelsError("line 3: Mueller_Hans")
    with pytest.raises(SealedError) as caught:
        sealed(fail)(cause)
    assert str(caught.value) == "LabelsError"
    assert caught.value.cause is cause
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_seal_holds_nothing_of_the_cause(protocol):
    text = pickle.dumps(SealedError("OSError", OSError(5, "Input/output error", "/data/Mueller_Hans.dcm")), protocol)
    assert b"Mueller" not in text
    copy = pickle.loads(text)
    assert (str(copy), copy.cause) == ("OSError", None)


def test_a_sealed_error_is_not_sealed_twice():
    error = SealedError("LabelsError", LabelsError("x"))
    with pytest.raises(SealedError) as caught:
        sealed(fail)(error)
    assert caught.value is error


def test_an_interruption_passes():
    with pytest.raises(KeyboardInterrupt):
        sealed(fail)(KeyboardInterrupt())


def test_results_and_name_pass():
    def add(a, b):
        return a + b

    assert sealed(add)(2, b=3) == 5
    assert sealed(add).__name__ == "add"
