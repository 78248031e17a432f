import torch

from models.transferability import TRANSFERABILITY


def test_every_score_takes_its_matrix_and_prefers_what_separates_the_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    targets = torch.eye(2)[labels]
    for name, score in TRANSFERABILITY.items():
        matrix = torch.randn(40, 6, generator=generator)
        clear = matrix + 4 * torch.eye(6)[labels]
        if score.of == "source probabilities":
            matrix, clear = matrix.softmax(dim=1), clear.softmax(dim=1)
        assert score.function(clear, targets) > score.function(matrix, targets), name
