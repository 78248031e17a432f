"""Normals that stand out are left out before a detector is fitted."""

import dataclasses

import numpy as np
import pytest
import torch

from models.detectors.outlyingness import outlyingness
from models.errors import DetectorError
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


def test_sites_too_small_for_one_are_ranked_together(archive):
    for n in range(5):
        archive.add(9, "normal", "train", site=f"small{n}")
    wrong = mislabelled(archive, 1, site="small5")
    found = screened(archive)
    assert len(found.doubtful) == 4
    assert {found.doubtful[0].ref.key} == wrong
    few = screened(archive, contamination=0.01)
    assert (few.doubtful, few.notes) == ((), ("46 normal scans: too few to leave the share 0.01 of them out",))


def test_the_list_does_not_put_one_site_before_the_others(archive):
    archive.add(40, "normal", "train", site="a").add(40, "normal", "train", site="b", far=True)
    assert [case.site for case in screened(archive).doubtful[:2]] in (["a", "b"], ["b", "a"])


def test_a_copy_of_what_is_left_out_is_not_learned_from(archive):
    archive.add(30, "normal", "train")
    (wrong,) = mislabelled(archive, 1)
    archive.cases.insert(0, dataclasses.replace(archive.cases[-1], line=1))
    found = screened(archive, contamination=0.04)
    assert len(found.doubtful) == 1
    assert wrong not in {case.ref.key for case in found.kept}


def test_features_that_are_no_numbers_are_told(archive):
    plan = archive.add(30, "normal", "train").plan()
    next(plan.classifier.backbone.parameters()).data.fill_(float("nan"))
    with pytest.raises(DetectorError, match="are its weights damaged"):
        screen_normals(
            plan.classifier.backbone, archive.store, archive.cases, config=plan.config, device=CPU, watch=Watch()
        )


def test_volumes_that_are_alike_at_each_place_are_ranked_all_the_same(volumes):
    volumes.add(22, "normal", "train")
    for case in volumes.cases[:-1]:
        np.save(volumes.store.path(case.ref.key), volumes.store.load(volumes.cases[0].ref.key))
    assert screened(volumes).doubtful[0] == volumes.cases[-1]


@pytest.mark.parametrize(("most", "kept"), [(40, 40), (10_000, 60)])
def test_many_slices_are_compared_with_some_of_as_many_patients_as_possible(archive, monkeypatch, most, kept):
    """One patient has 30 of 60 scans."""
    archive.add(27, "normal", "train").add(30, "normal", "train", per_patient=30)
    wrong = mislabelled(archive, 3)
    monkeypatch.setattr(screen, "MOST_SLICES", most)
    banks = []

    def watched(rows, owner, bank, bank_owner):
        banks.append(bank_owner)
        return outlyingness(rows, owner, bank, bank_owner)

    monkeypatch.setattr(screen, "outlyingness", watched)
    assert wrong <= {case.ref.key for case in screened(archive).doubtful}
    assert {len(bank) for bank in banks} == {kept}
    assert {len(bank.unique()) for bank in banks} == {31}
