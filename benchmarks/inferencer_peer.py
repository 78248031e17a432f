"""The same network in anomalib's OpenVINO inferencer, one image at a time as its interface has it. A peer of score.py.

    python benchmarks/inferencer_peer.py export BUNDLE NETWORK.xml          (in this environment)
    python benchmarks/inferencer_peer.py score NETWORK.xml FOLDER OUT.csv   (in anomalib's, by score.py)

What it reads and how it prepares is `obvious_script.read_image`.
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np


def export(bundle, target):
    """Write the bundle's network, calibration included, with the names that the inferencer expects."""
    import torch

    from models.bundle import open_bundle
    from pipeline.learn.objective import anomaly_score, probabilities
    from pipeline.model_record import load_classifier, read_record
    from pipeline.score.engines.openvino_engines import openvino

    opened = open_bundle(bundle)
    record = read_record(opened)
    network = load_classifier(opened, record).eval()
    size = record.preparation.image_size

    class Scored(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, image):
            features = self.network.features(image[:, :1])[:, None]
            logits = self.network.classify(features, torch.ones(1, 1, dtype=torch.bool))
            return anomaly_score(probabilities(logits, record.task, record.temperature, record.bias))

    ov = openvino()
    shape = (1, 3, size, size)
    with torch.no_grad():
        model = ov.convert_model(Scored().eval(), example_input=torch.zeros(shape), input=[ov.PartialShape(shape)])
    model.output(0).get_tensor().set_names({"pred_score"})
    ov.save_model(model, str(target), compress_to_fp16=False)
    print(size, record.anomaly_threshold)


def score(network, folder, out):
    """Every DICOM file below a folder."""
    from anomalib.deploy import OpenVINOInferencer
    from obvious_script import read_image

    with tempfile.TemporaryDirectory() as cache:  # its compiled networks go into the working directory
        import os

        files = sorted(folder.absolute().rglob("*.dcm"))
        out, network = out.absolute(), network.absolute()
        os.chdir(cache)
        inferencer = OpenVINOInferencer(network, device="CPU")
        size = int(inferencer.input_blob.shape[-1])
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["series_uid", "anomaly_score"])
            for path in files:
                uid, picture = read_image(path, size)
                image = np.ascontiguousarray(np.repeat(picture.numpy().transpose(1, 2, 0), 3, axis=2))
                found = inferencer.predict(image)
                writer.writerow([uid, f"{float(np.ravel(found.pred_score)[0]):.6f}"])


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    {"export": export, "score": score}[verb](*map(Path, paths))
