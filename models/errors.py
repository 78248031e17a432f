"""What can go wrong in `models`."""


class ModelError(Exception):
    """Base of every error that `models` raises on purpose."""


class UnknownNameError(ModelError, KeyError):
    """A name that a registry does not hold."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WeightsNotFoundError(ModelError, FileNotFoundError):
    """No pretrained weights could be found; the message says which file to bring, from where, and its hash."""


class WeightsMismatchError(ModelError, ValueError):
    """A weights file whose hash or tensors do not fit the network."""


class PartialWeightsError(ModelError, ValueError):
    """Weights that lack a part of the network which is needed."""


class BundleError(ModelError, ValueError):
    """A bundle that is incomplete, altered, or of an unknown format version."""


class NoBatchNormError(ModelError, ValueError):
    """A method that works on batch norm, asked for a network without it."""


class AdaptationRefusedError(ModelError, RuntimeError):
    """Test-time adaptation that would do harm, or has done it and was undone."""


class ScoreInputError(ModelError, ValueError):
    """Features or labels from which no transferability score can be computed."""


class DetectorError(ModelError, ValueError):
    """Normal slices that a detector cannot learn from, or stored findings that do not fit it."""
