"""Fitting on stored normals, scores that depend on a scan alone, and volumes by place."""

import numpy as np
import torch

from pipeline.detect.fit import fit_detector
from pipeline.detect.slices import SCORING_BATCH, StoredNormals, in_batches, places
from pipeline.watch import Watch

CPU = torch.device("cpu")


def fitted(archive, name="padim", **config):
    plan = archive.plan(**config)
    cases = [case for case in archive.cases if case.labels == ("normal",)]
    return fit_detector(
        name, plan.classifier.backbone, archive.store, cases, config=plan.config, device=CPU, watch=Watch()
    )


def keys(archive, label):
    return [case.ref.key for case in archive.cases if case.labels == (label,)]


def test_the_stream_gives_every_slice_once_in_any_order(volumes):
    volumes.add(9, "normal", "train")
    contents = tuple(keys(volumes, "normal"))
    told = []
    stream = StoredNormals(volumes.store, contents, 3, CPU, told.append)
    assert stream.slices == 54
    in_order = list(stream())
    assert torch.cat([batch.index for batch in in_order]).tolist() == [n for n in range(9) for _ in range(6)]
    assert sum(told) == 9
    first, again, second = list(stream(0)), list(stream(0)), list(stream(1))
    order = [torch.cat([batch.index for batch in epoch]).tolist() for epoch in (first, again, second)]
    assert order[0] == order[1] != order[2]
    assert sorted(order[0]) == sorted(order[2]) == [n for n in range(9) for _ in range(6)]
    scan = volumes.store.load(contents[order[0][0]])
    assert torch.equal(first[0].images[:6], torch.from_numpy(scan.astype(np.float32) / 65535))


def test_batches_have_one_shape_and_give_each_scan_its_rows(volumes):
    volumes.add(5, "normal", "train")
    samples = [volumes.store.load(key)[: 6 - n] for n, key in enumerate(keys(volumes, "normal"))]
    seen = []

    def mean(images):
        seen.append(tuple(images.shape))
        return images.mean(dim=(1, 2, 3))

    found = in_batches(samples, mean, CPU)
    assert set(seen) == {(SCORING_BATCH, 1, 64, 64)}
    assert [len(rows) for rows in found] == [6, 5, 4, 3, 2]
    for rows, sample in zip(found, samples, strict=True):
        assert torch.allclose(rows, torch.from_numpy(sample.mean(axis=(1, 2, 3)) / 65535).float(), atol=1e-6)
    assert in_batches([], mean, CPU) == []


def test_places_run_from_end_to_end():
    assert places(1).tolist() == [0.5]
    assert places(3).tolist() == [0, 0.5, 1]


def test_anomalies_score_above_normals_and_a_scan_scores_alike_in_any_company(archive):
    archive.add(40, "normal", "train").add(10, "normal", "val").add(10, "disc", "val")
    model = fitted(archive).model
    held = [c.ref.key for c in archive.cases if c.split == "val" and c.labels == ("normal",)]
    ill = keys(archive, "disc")
    together = model.raw_scores(archive.store, [*held, *ill])
    assert together[:10].max() < together[10:].min()
    alone = np.array([model.raw_scores(archive.store, [key])[0] for key in (*held[:2], *ill[:2])])
    assert np.array_equal(alone, together[[0, 1, 10, 11]])


def test_the_map_peaks_inside_the_disc(archive):
    archive.add(40, "normal", "train").add(6, "disc", "val")
    model = fitted(archive).model
    for key in keys(archive, "disc"):
        slices = torch.from_numpy(archive.store.load(key).astype(np.float32) / 65535)
        maps = model.maps(slices)
        assert maps.shape == (1, 64, 64)
        row, column = divmod(int(maps[0].argmax()), 64)
        assert slices[0, 0, row, column] > 0.9


def test_volumes_of_enough_patients_get_a_profile_fitted_on_other_patients(volumes):
    volumes.add(50, "normal", "train").add(4, "disc", "val")
    found = fitted(volumes, "mahalanobis")
    assert found.model.profile is not None
    assert found.notes == ()
    ill = found.model.raw_scores(volumes.store, keys(volumes, "disc"))
    normal = found.model.raw_scores(volumes.store, keys(volumes, "normal")[:20])
    assert ill.min() > normal.max()


def test_too_few_volumes_for_a_profile_are_told(volumes):
    found = fitted(volumes.add(12, "normal", "train"), "mahalanobis")
    assert found.model.profile is None
    assert "12 normal patients" in found.notes[0]
    assert "23 are needed" in found.notes[0]
