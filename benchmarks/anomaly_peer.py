"""anomalib's PaDiM and PatchCore on given images, run in anomalib's own environment: python anomaly_peer.py JOB.json

Its torch models are called directly, without Lightning's trainer, which can only make it faster. Layers, channels,
neighbours and core-set are as ours; the images come prepared, and normalised as its pre-processor does.
"""

import logging
import sys
import warnings

import torch
from anomaly_job import run_job

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")  # deprecations within the package
MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def make(job):
    """The peer's model with the same weights."""
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    if job["detector"] == "padim":
        model = PadimModel("resnet18", layers=["layer1", "layer2", "layer3"], pre_trained=False, n_features=100)
    else:
        model = PatchcoreModel(backbone="resnet18", layers=["layer2", "layer3"], pre_trained=False, num_neighbors=9)
    state = torch.load(job["weights"], map_location="cpu", weights_only=True)
    wanted = model.feature_extractor.feature_extractor
    wanted.load_state_dict({name: state[name] for name in wanted.state_dict()})  # strict: every tensor is there

    def fit(images):
        model.train()
        model.feature_extractor.eval()
        for batch in images:
            model((batch - MEAN) / STD)
        if job["detector"] == "padim":
            model.fit()
        else:
            model.subsample_embedding(job["share"])
        model.eval()

    return fit, lambda batch: model((batch - MEAN) / STD).pred_score


if __name__ == "__main__":
    run_job(sys.argv[1], make)
