"""How each torchvision CNN family falls into named stages, from stem to top.

A stage is a module; running the stages one after another gives the last feature map. Every module stays
torchvision's own object, so that its weights load by torchvision's names.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torchvision import models as tv

Stages = list[tuple[str, nn.Module]]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One torchvision network as a feature extractor.

    Attributes:
        builder: Torchvision's model function.
        stages: Splits the built model into named stages.
        neck: What follows global average pooling and still belongs to the features (ConvNeXt's norm).
        mean, std: Normalisation of RGB in [0, 1] that the weights expect.
        min_size: Smallest side in pixels that the network accepts.
        options: Further arguments of the builder.
    """

    builder: Callable[..., nn.Module]
    stages: Callable[[Any], Stages]
    neck: Callable[[Any], nn.Module] = field(default=lambda model: nn.Identity())
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    min_size: int = 32
    options: dict[str, Any] = field(default_factory=dict)


def _chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def resnet_stages(model: Any) -> Stages:
    """Stem and the four residual layers (He et al. 2016)."""
    stem = _chain(model.conv1, model.bn1, model.relu, model.maxpool)
    return [("stem", stem), *((f"layer{n}", getattr(model, f"layer{n}")) for n in range(1, 5))]


def densenet_stages(model: Any) -> Stages:
    """Stem and the four dense blocks; a transition opens the block after it (Huang et al. 2017)."""
    f = model.features
    return [
        ("stem", _chain(f.conv0, f.norm0, f.relu0, f.pool0)),
        ("block1", f.denseblock1),
        ("block2", _chain(f.transition1, f.denseblock2)),
        ("block3", _chain(f.transition2, f.denseblock3)),
        ("block4", _chain(f.transition3, f.denseblock4, f.norm5, nn.ReLU())),
    ]


def _split(children: Iterable[nn.Module], opens: Callable[[nn.Module], bool], name: str = "stage") -> Stages:
    groups: list[list[nn.Module]] = []
    for child in children:
        if not groups or opens(child):
            groups.append([])
        groups[-1].append(child)
    return [("stem" if n == 0 else f"{name}{n}", _chain(*group)) for n, group in enumerate(groups)]


def pooled_stages(model: Any) -> Stages:
    """VGG and SqueezeNet: a stage opens with each max pooling."""
    return _split(model.features, lambda child: isinstance(child, nn.MaxPool2d))


def strided_stages(model: Any) -> Stages:
    """MobileNet, EfficientNet, ConvNeXt: a stage opens with each child that halves the resolution."""

    def strides(child: nn.Module) -> bool:
        return any(isinstance(m, nn.Conv2d) and max(m.stride) > 1 for m in child.modules())

    return _split(model.features, strides)


def shufflenet_stages(model: Any) -> Stages:
    """Stem and stages 2 to 4, the last with its closing convolution (Ma et al. 2018)."""
    stem = _chain(model.conv1, model.maxpool)
    return [
        ("stem", stem),
        ("stage2", model.stage2),
        ("stage3", model.stage3),
        ("stage4", _chain(model.stage4, model.conv5)),
    ]


def googlenet_stages(model: Any) -> Stages:
    """Stem and inception blocks 3 to 5 (Szegedy et al. 2015)."""
    m = model
    return [
        ("stem", _chain(m.conv1, m.maxpool1, m.conv2, m.conv3, m.maxpool2)),
        ("inception3", _chain(m.inception3a, m.inception3b)),
        (
            "inception4",
            _chain(m.maxpool3, m.inception4a, m.inception4b, m.inception4c, m.inception4d, m.inception4e),
        ),
        ("inception5", _chain(m.maxpool4, m.inception5a, m.inception5b)),
    ]


def inception_stages(model: Any) -> Stages:
    """Stem and mixed blocks 5 to 7 (Szegedy et al. 2016)."""
    m = model
    stem = _chain(m.Conv2d_1a_3x3, m.Conv2d_2a_3x3, m.Conv2d_2b_3x3, m.maxpool1)
    return [
        ("stem", _chain(stem, m.Conv2d_3b_1x1, m.Conv2d_4a_3x3, m.maxpool2)),
        ("mixed5", _chain(m.Mixed_5b, m.Mixed_5c, m.Mixed_5d)),
        ("mixed6", _chain(m.Mixed_6a, m.Mixed_6b, m.Mixed_6c, m.Mixed_6d, m.Mixed_6e)),
        ("mixed7", _chain(m.Mixed_7a, m.Mixed_7b, m.Mixed_7c)),
    ]


def _resnet(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, resnet_stages)


def _vgg(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, pooled_stages)


def _densenet(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, densenet_stages)


def _strided(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, strided_stages)


def _shufflenet(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, shufflenet_stages)


def _convnext(builder: Callable[..., nn.Module]) -> Architecture:
    return Architecture(builder, strided_stages, neck=lambda model: model.classifier[0])


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _resnet(tv.resnet18),
    "resnet34": _resnet(tv.resnet34),
    "resnet50": _resnet(tv.resnet50),
    "resnet101": _resnet(tv.resnet101),
    "resnet152": _resnet(tv.resnet152),
    "resnext50_32x4d": _resnet(tv.resnext50_32x4d),
    "wide_resnet50_2": _resnet(tv.wide_resnet50_2),
    "densenet121": _densenet(tv.densenet121),
    "densenet161": _densenet(tv.densenet161),
    "densenet169": _densenet(tv.densenet169),
    "densenet201": _densenet(tv.densenet201),
    "vgg11": _vgg(tv.vgg11),
    "vgg11_bn": _vgg(tv.vgg11_bn),
    "vgg13": _vgg(tv.vgg13),
    "vgg13_bn": _vgg(tv.vgg13_bn),
    "vgg16": _vgg(tv.vgg16),
    "vgg16_bn": _vgg(tv.vgg16_bn),
    "vgg19": _vgg(tv.vgg19),
    "vgg19_bn": _vgg(tv.vgg19_bn),
    "squeezenet1_0": Architecture(tv.squeezenet1_0, pooled_stages),
    "squeezenet1_1": Architecture(tv.squeezenet1_1, pooled_stages),
    "mobilenet_v2": _strided(tv.mobilenet_v2),
    "mobilenet_v3_small": _strided(tv.mobilenet_v3_small),
    "mobilenet_v3_large": _strided(tv.mobilenet_v3_large),
    "efficientnet_b0": _strided(tv.efficientnet_b0),
    "efficientnet_b1": _strided(tv.efficientnet_b1),
    "efficientnet_b2": _strided(tv.efficientnet_b2),
    "efficientnet_b3": _strided(tv.efficientnet_b3),
    "efficientnet_b4": _strided(tv.efficientnet_b4),
    "efficientnet_v2_s": _strided(tv.efficientnet_v2_s),
    "shufflenet_v2_x0_5": _shufflenet(tv.shufflenet_v2_x0_5),
    "shufflenet_v2_x1_0": _shufflenet(tv.shufflenet_v2_x1_0),
    "shufflenet_v2_x1_5": _shufflenet(tv.shufflenet_v2_x1_5),
    "shufflenet_v2_x2_0": _shufflenet(tv.shufflenet_v2_x2_0),
    "convnext_tiny": _convnext(tv.convnext_tiny),
    "convnext_small": _convnext(tv.convnext_small),
    "convnext_base": _convnext(tv.convnext_base),
    # Torchvision's weights of these two are used with transform_input=True, which turns ImageNet's
    # normalisation into (x - 0.5) / 0.5; that normalisation is stated here instead.
    "googlenet": Architecture(
        tv.googlenet, googlenet_stages, mean=HALF, std=HALF, options={"aux_logits": False, "init_weights": True}
    ),
    "inception_v3": Architecture(
        tv.inception_v3,
        inception_stages,
        mean=HALF,
        std=HALF,
        min_size=75,
        options={"aux_logits": False, "init_weights": True},
    ),
}
