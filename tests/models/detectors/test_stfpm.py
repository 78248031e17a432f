import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.detectors.cells import enlarge
from models.detectors.networks.student import Student
from models.detectors.stfpm import STFPM, distance_maps


def test_distance_of_hand_worked_features():
    teacher = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0], [1.0, 1.0]]).T.reshape(1, 2, 2, 2)
    student = torch.tensor([[6.0, 8.0], [7.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]).T.reshape(1, 2, 2, 2)
    # same direction 0; right angle 1/2 (1 + 1); opposite 1/2 2^2; nothing said 1/2 1^2
    assert distance_maps(teacher, student)[0].tolist() == [[0.0, 1.0], [2.0, pytest.approx(0.5)]]


def test_distance_is_that_of_numpy():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 3, 5, 4, 4)).astype(np.float32)
    unit = [maps / np.sqrt((maps**2).sum(axis=1, keepdims=True)) for maps in (teacher, student)]
    expected = 0.5 * ((unit[0] - unit[1]) ** 2).sum(axis=1)
    found = distance_maps(torch.from_numpy(teacher), torch.from_numpy(student))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.fixture
def detector():
    return STFPM(build_backbone("resnet18@layer2", seed=1), image_size=32, steps=1)


@torch.no_grad()
def test_loss_is_the_sum_over_stages_and_the_map_the_product(detector, textures):
    network, images = detector.build_network().eval(), textures(3)
    distances = detector.distances(network, images)
    assert [tuple(maps.shape) for maps in distances] == [(3, 8, 8), (3, 4, 4)]
    by_hand = sum(float(np.mean(maps.numpy())) for maps in distances)
    assert float(detector.loss(network, images)) == pytest.approx(by_hand, rel=1e-5)
    first, second = (
        enlarge(maps, detector.grids[stage].enlarge(32)).numpy()
        for maps, stage in zip(distances, ("layer1", "layer2"), strict=True)
    )
    score, maps = detector.measure(network, images)
    np.testing.assert_allclose(maps.numpy(), first * second, rtol=1e-5)
    np.testing.assert_allclose(score.numpy(), (first * second).max(axis=(1, 2)), rtol=1e-5)


def test_student_has_the_teachers_shape_and_other_weights_though_the_seed_is_the_same():
    teacher = build_backbone("resnet18@layer2", seed=4)
    student = Student(teacher, ("layer1",), seed=4)
    assert list(student.stages) == ["stem", "layer1"]
    assert student.stages["stem"][0].weight.shape == teacher.stages["stem"][0].weight.shape
    assert not torch.equal(student.stages["stem"][0].weight, teacher.stages["stem"][0].weight)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_other_networks_train_too_with_and_without_batch_norm(name, stream, textures):
    detector = STFPM(build_backbone(name, seed=1), image_size=64, steps=6)
    detector.fit(stream(textures(4, size=64)))
    assert detector.curve[-1] < detector.curve[0]
    assert detector.score(textures(2, size=64, seed=1), maps=True).maps.shape == (2, 64, 64)
