"""Normals that stand out are left out before a detector is fitted."""

import dataclasses

import numpy as np
import torch

from models.detectors.outlyingness import outlyingness
from pipeline.detect import screen
from pipeline.detect.screen import LEAST, screen_normals
from pipeline.watch import Watch

CPU = torch.device("cpu")


def screened(archive, **config):
    plan = archive.plan(**config)
    cases = [case for case in archive.cases if case.labels == ("normal",)]
    return screen_normals(plan.classifier.backbone, archive.store, cases, config=plan.config, device=CPU, watch=Watch())


def mislabelled(archive, count, **settings):
    """Add abnormal scans that are called normal; returns their keys."""
    before = len(archive.cases)
    archive.add(count, "disc", "train", **settings)
    wrong = [archive.cases.pop() for _ in range(len(archive.cases) - before)]
    archive.cases += [dataclasses.replace(case, labels=("normal",)) for case in reversed(wrong)]
    return {case.ref.key for case in wrong}


def test_the_mislabelled_are_among_those_left_out_and_stand_first(archive):
    archive.add(57, "normal", "train")
    wrong = mislabelled(archive, 3)
    found = screened(archive)
    assert {case.ref.key for case in found.doubtful[:3]} == wrong
    assert len(found.doubtful) == 6
    assert len(found.kept) == 54
    assert {case.ref.key for case in found.kept} & {case.ref.key for case in found.doubtful} == set()
    assert [case.line for case in found.kept] == sorted(case.line for case in found.kept)


def test_a_mislabelled_slice_of_a_volume_makes_it_stand_out(volumes):
    volumes.add(28, "normal", "train")
    wrong = mislabelled(volumes, 2)
    assert {case.ref.key for case in screened(volumes).doubtful} >= wrong


def test_scans_of_one_mislabelled_patient_do_not_vouch_for_each_other(archive):
    archive.add(48, "normal", "train")
    wrong = mislabelled(archive, 4, per_patient=4)
    assert {case.ref.key for case in screened(archive).doubtful} >= wrong


def test_a_small_site_is_not_left_out_for_being_itself(archive):
    archive.add(60, "normal", "train", site="large").add(10, "normal", "train", site="small", far=True)
    left = [case.site for case in screened(archive).doubtful]
    assert (left.count("large"), left.count("small")) == (6, 1)


def test_nothing_is_left_out_where_it_is_not_asked_for_or_patients_are_few(archive):
    archive.add(40, "normal", "train", per_patient=2)
    assert (screened(archive, contamination=0).doubtful, screened(archive, contamination=0).notes) == ((), ())
    assert len(screened(archive, contamination=0.3).doubtful) == 12
    archive.cases = archive.cases[: 2 * LEAST - 2]
    found = screened(archive)
    assert found.doubtful == ()
    assert found.notes[0].startswith("19 normal patients: too few to say which scans stand out (at least 20)")


def test_many_slices_are_compared_in_parts_of_whole_patients(archive, monkeypatch):
    archive.add(57, "normal", "train", per_patient=3)
    wrong = mislabelled(archive, 3)
    monkeypatch.setattr(screen, "PART", 25)
    sizes, owners = [], []

    def watched(rows, owner):
        sizes.append(len(rows))
        return outlyingness(rows, owner)

    def parts(*arguments):
        found = split(*arguments)
        owners.extend({archive.cases[n].patient for n in part} for part in found)
        return found

    split = screen._parts
    monkeypatch.setattr(screen, "outlyingness", watched)
    monkeypatch.setattr(screen, "_parts", parts)
    assert wrong <= {case.ref.key for case in screened(archive).doubtful}
    assert sum(sizes) == 60
    assert len(sizes) == 3
    assert np.ptp(sizes) <= 6
    assert sum(map(len, owners)) == len(set.union(*owners))
