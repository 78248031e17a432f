"""The classifier of the source task (ImageNet's 1,000 classes) that a weights file may hold beside the features."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import models as tv

from models.backbones import Backbone
from models.families import ARCHITECTURES
from models.state_names import on_meta
from models.weights import WeightsFile, read_state

Of = Literal["features", "map"]


class SourceHead(nn.Module):
    """Torchvision's own classifier of one network, as probabilities.

    Attributes:
        of: Whether it works on the top's pooled features (M, F), which are the last of a backbone with joined stages,
            or, as in VGG and SqueezeNet, on the last map (M, C, h, w).
    """

    def __init__(self, top: nn.Module, of: Of) -> None:
        super().__init__()
        self.top, self.of = top, of

    def forward(self, inputs: Tensor) -> Tensor:
        """Probabilities (M, Z), float32, of pooled features (M, F) or of last maps (M, C, h, w)."""
        logits: Tensor = self.top(inputs)
        return logits.flatten(1).float().softmax(dim=1)


class SourceNetwork(Backbone):
    """A backbone with its source head: its pooled output are the source task's probabilities, shape (B, Z)."""

    def __init__(self, backbone: Backbone, head: SourceHead) -> None:
        super().__init__(
            f"{backbone.name}+head",
            list(backbone.stages.items()),
            neck=backbone.neck,
            mean=backbone.mean,
            std=backbone.std,
            min_size=backbone.min_size,
        )
        self.variant, self.head = backbone.variant, head
        self.num_features = [parameter.shape[0] for parameter in head.parameters()][-1]
        self.widths = (self.num_features,)

    def pool(self, last_map: Tensor) -> Tensor:
        """Probabilities (B, Z) of the last map (B, C, h, w)."""
        probabilities: Tensor = self.head(last_map if self.head.of == "map" else super().pool(last_map))
        return probabilities


def _fully_connected(model: Any) -> tuple[nn.Module, Of]:
    return model.fc, "features"


def _classifier(model: Any) -> tuple[nn.Module, Of]:
    return model.classifier, "features"


HEADS: dict[type[nn.Module], Callable[[Any], tuple[nn.Module, Of]]] = {
    tv.ResNet: _fully_connected,
    tv.DenseNet: _classifier,
    tv.MobileNetV2: _classifier,
    tv.MobileNetV3: _classifier,
    tv.EfficientNet: _classifier,
    tv.ShuffleNetV2: _fully_connected,
    tv.GoogLeNet: _fully_connected,
    tv.Inception3: _fully_connected,
    tv.ConvNeXt: lambda model: (model.classifier[1:], "features"),  # its first layer is the backbone's neck
    tv.SqueezeNet: lambda model: (model.classifier, "map"),  # a convolution and ReLU come before the pooling
    tv.VGG: lambda model: (nn.Sequential(model.avgpool, nn.Flatten(1), model.classifier), "map"),
}


def source_head(backbone: Backbone, file: WeightsFile) -> tuple[SourceHead | None, str]:
    """The classifier that a weights file holds for a backbone, in evaluation mode.

    Returns:
        The head and an empty text; or None and why there is none.

    Raises:
        WeightsMismatchError: If the file's hash does not fit or it holds more than tensors.
    """
    base = backbone.name.partition("@")[0]
    if base not in ARCHITECTURES:
        return None, "the head of a network that is not torchvision's is not known"
    original = on_meta(base)
    if backbone.stage_names[-1] != ARCHITECTURES[base].stages(original)[-1][0]:
        return None, f"the network is cut after {backbone.stage_names[-1]}"
    top, of = HEADS[type(original)](original)
    names = {id(tensor): name for name, tensor in original.state_dict(keep_vars=True).items()}
    wanted = {own: names[id(tensor)] for own, tensor in top.state_dict(keep_vars=True).items()}
    state, _ = read_state(file)
    if any(name not in state for name in wanted.values()):
        return None, "the weights file holds no classifier"
    shapes = {own: tensor.shape for own, tensor in top.state_dict().items()}
    if any(state[name].shape != shapes[own] for own, name in wanted.items()):
        return None, "the classifier in the weights file has another shape"
    top.load_state_dict({own: state[name].to(torch.float32) for own, name in wanted.items()}, assign=True)
    return SourceHead(top, of).requires_grad_(False).eval(), ""
