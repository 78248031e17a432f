"""Base of the detectors that train a network on normal slices and score by what it cannot reproduce."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.backbones import Backbone
from models.detectors.cells import Grid, enlarge
from models.detectors.detector import Detector, Normals, Report, Scored
from models.detectors.training import Schedule, train
from models.errors import DetectorError


class TrainedDetector(Detector):
    """A detector with a network of its own.

    In fitting and scoring no more than `schedule.batch` slices pass the networks at once, whatever their number.

    Args:
        epochs, steps: Replace those of the class's `schedule`.

    Attributes:
        sigma: Standard deviation in pixels of the Gaussian that smooths the enlarged maps; 0 for none.
        schedule: How long the network is trained.
        network: None until fitted.
        curve: Loss over the tenths of the training, empty until fitted.
    """

    default_schedule: ClassVar[Schedule]
    sigma: ClassVar[float] = 0.0
    network: nn.Module | None

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        stages: tuple[str, ...] = (),
        seed: int = 0,
        reduced: bool = False,
        epochs: int | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(backbone, image_size=image_size, stages=stages, seed=seed, reduced=reduced)
        usual = self.default_schedule
        self.schedule = Schedule(
            usual.epochs if epochs is None else epochs, usual.steps if steps is None else steps, usual.batch
        )
        self.network = None
        self.curve: tuple[float, ...] = ()
        for place, grid in enumerate(self.compared_grids()):
            self.register_buffer(f"rows{place}", grid.enlarge(image_size, self.sigma), persistent=False)

    def compared_grids(self) -> list[Grid]:
        """Where the cells of the maps lie that `enlarged` gets: those of the stages."""
        return [self.grids[stage] for stage in self.stages]

    def enlarged(self, maps: Iterable[Tensor]) -> Tensor:
        """Square maps (B, h, h), one of each compared grid, on the pixels of the slices: shape (grids, B, S, S)."""
        return torch.stack([enlarge(cells, self.get_buffer(f"rows{place}")) for place, cells in enumerate(maps)])

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The untrained network; called with torch's generator seeded and put back afterwards."""

    @abstractmethod
    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of the network."""

    @abstractmethod
    def loss(self, network: nn.Module, images: Tensor) -> Tensor:
        """Mean loss of slices (B, C, S, S) in [0, 1], a scalar."""

    @abstractmethod
    def measure(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,) and maps (B, S, S) of slices (B, C, S, S) in [0, 1]."""

    def train(self, mode: bool = True) -> "TrainedDetector":
        """As of any module, but both networks stay in evaluation mode: batch norm learns in `fit` alone."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    def fit(self, normals: Normals, *, report: Report | None = None) -> None:
        """Train a fresh network on the stream.

        Raises:
            DetectorError: If the slices are too few or all alike, or the training diverges; then nothing is kept.
        """
        self.network = None
        network = self._fresh()
        self.curve = train(
            network,
            lambda images: self.loss(network, images),
            normals,
            optimiser=self.optimiser(network.parameters()),
            schedule=self.schedule,
            report=report,
        )
        self.network = network.requires_grad_(False)

    @torch.no_grad()
    def score(self, images: Tensor, *, maps: bool = False) -> Scored:
        """Score slices (M, C, S, S) in [0, 1], a batch at a time.

        Raises:
            DetectorError: If nothing was fitted or taken.
        """
        network = self._fitted()
        found = [self.measure(network, part) for part in images.split(self.schedule.batch)]
        score = torch.cat([score for score, _ in found])
        return Scored(score, torch.cat([maps for _, maps in found]) if maps else None)

    def learned(self) -> dict[str, Tensor]:
        """Weights and buffers of the trained network, on the CPU.

        Raises:
            DetectorError: If nothing was fitted or taken.
        """
        state = self._fitted().state_dict()
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}

    def take(self, learned: Mapping[str, Tensor]) -> None:
        """Take the weights that `learned` gave.

        Raises:
            DetectorError: If a tensor is missing, too many, of another shape or kind, or not finite.
        """
        network = self._fresh()
        check_state(network.state_dict(), learned)
        network.load_state_dict(dict(learned))
        self.network = network.requires_grad_(False)

    def _fresh(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.build_network()
        return network.eval().to(self.input_mean.device).to(memory_format=torch.channels_last)

    def _fitted(self) -> nn.Module:
        if self.network is None:
            raise DetectorError(f"{type(self).__name__} has learned nothing yet; fit it or take what another learned")
        return self.network


def check_state(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse stored tensors that are not those of a network.

    Raises:
        DetectorError: If a name is missing or too many, a shape or kind differs, or a value is not finite.
    """
    if differing := sorted(set(expected) ^ set(found)):
        side = "missing" if differing[0] in expected else "not of this network"
        raise DetectorError(f"stored detector: {differing[0]} is {side} ({len(differing)} such names)")
    for name, tensor in found.items():
        like = expected[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise DetectorError(
                f"stored detector: {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {like.dtype} {tuple(like.shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise DetectorError(f"stored detector: {name} has values that are not finite")
