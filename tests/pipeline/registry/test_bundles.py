"""Bundles on disk: taken in, approved, looked up by a run."""

import json
import shutil

import pytest

from pipeline.errors import ConfigError, RefusedError, RegistryError
from pipeline.registry.approve import approver, promote, reinstate, retire
from pipeline.registry.approved import approved_bundle, choose_bundle, chosen_bundle
from pipeline.registry.place import find_model, opened, slot_name, wrong_with
from pipeline.registry.records import State
from pipeline.registry.take_in import add_bundle, headline, note_adapted, note_made, note_validated
from pipeline.registry.wording import list_lines, listed, show_lines, shown
from pipeline.watch import Watch

BY = approver("Dr. A", "tried by hand")


def metrics(digest, auroc=0.875):
    def group(n, value, low, high):
        return {"n": n, "n_patients": n, "macro": {"auroc": {"value": value, "low": low, "high": high}}}

    sites = {"west": group(4, None, None, None), "north": group(60, 0.8, 0.7, 0.9)}
    return {"bundle": digest, **group(64, auroc, 0.8, 0.9375), "groups": {"site": sites, "sex": {}}}


def labels_csv(folder, split):
    (folder / "a.dcm").touch()
    path = folder / "labels.csv"
    path.write_text(f"path,label,split\na.dcm,normal,{split}\n")
    return path


def alter(folder):
    (folder / "configs" / "scanshift.yaml").write_text("changed")


def test_the_headline_is_that_of_metrics_json():
    line = headline(metrics("a" * 64), "validate", "test rows")
    assert (line.scans, line.patients, line.auroc, line.low, line.high) == (64, 64, 0.875, 0.8, 0.9375)
    assert [(site.site, site.scans, site.auroc, site.low) for site in line.sites] == [
        ("north", 60, 0.8, 0.7),
        ("west", 4, None, None),
    ]


@pytest.mark.parametrize(("split", "words"), [("test", "test rows"), ("", "all rows, none of them seen in training")])
def test_a_validation_takes_the_bundle_in_and_says_which_rows(space, bundle_in, tmp_path, split, words):
    bundle = bundle_in(tmp_path / "b")
    note_validated(space, bundle.folder, labels_csv(tmp_path, split), metrics(bundle.digest))
    with opened(space) as registry:
        assert [found.state for found in registry.models()] == [State.CANDIDATE]
        assert [line.measured_on for line in registry.measurements(bundle.digest)] == [words]


def test_a_validation_of_what_no_longer_lies_there_is_not_noted(space, bundle_in, tmp_path):
    old = bundle_in(tmp_path / "b")
    bundle_in(tmp_path / "b", seed=1)
    with pytest.raises(RegistryError, match="another bundle lies there now"):
        note_validated(space, tmp_path / "b", labels_csv(tmp_path, "test"), metrics(old.digest))
    with opened(space) as registry:
        assert registry.models() == []


def test_adaptation_is_noted_with_what_it_chose_by_and_a_changed_policy_with_its_parent(space, bundle_in, tmp_path):
    bundle = bundle_in(tmp_path / "b")
    result = tmp_path / "result.json"
    told = {"bundle": bundle.digest, "measured_on": "validation rows", "validation": metrics(bundle.digest, None)}
    result.write_text(json.dumps(told))
    note_adapted(space, bundle.folder, result)
    child = bundle_in(tmp_path / "c", parent=bundle.digest)
    note_made(space, child.folder, who="models set-policy")
    with opened(space) as registry:
        assert [found.parent for found in registry.models()] == ["", bundle.digest]
        assert shown(registry, registry.known(child.digest))["parents"] == [
            {"digest": bundle.digest, "state": "candidate"}
        ]
        (line,) = registry.measurements(bundle.digest)
        assert (line.verb, line.measured_on, line.auroc) == ("adapt", "validation rows", None)
    with pytest.raises(RefusedError, match="never validated"):
        promote(space, bundle.digest, BY)


def test_a_copy_does_not_take_the_place_of_a_bundle_that_is_there(space, bundle_in, tmp_path):
    bundle = bundle_in(tmp_path / "b")
    add_bundle(space, bundle.folder, who="models add")
    copy = shutil.copytree(bundle.folder, tmp_path / "copy")
    note_validated(space, copy, labels_csv(tmp_path, "test"), metrics(bundle.digest))
    with opened(space) as registry:
        assert registry.known(bundle.digest).folder == bundle.folder
    shutil.rmtree(bundle.folder)
    note_validated(space, copy, labels_csv(tmp_path, "test"), metrics(bundle.digest))
    with opened(space) as registry:
        assert registry.known(bundle.digest).folder == copy
        assert [event.event for event in registry.events(bundle.digest)] == ["added", "moved"]


@pytest.mark.parametrize("harm", ["altered", "gone", "replaced"])
def test_a_bundle_that_is_not_what_it_was_is_neither_promoted_nor_used(space, bundle_in, tmp_path, harm):
    bundle = bundle_in(tmp_path / "b")
    add_bundle(space, bundle.folder, who="models add")
    promote(space, bundle.digest, BY, slot="before", unvalidated=True)
    if harm == "altered":
        alter(bundle.folder)
    else:
        shutil.rmtree(bundle.folder)
    if harm == "replaced":
        bundle_in(bundle.folder, seed=1)
    words = {"altered": "was altered", "gone": "not a bundle", "replaced": "another bundle lies there"}[harm]
    with pytest.raises(RefusedError, match=words):
        promote(space, bundle.digest, BY, unvalidated=True)
    with pytest.raises(RegistryError, match=f"approved:before .*{words}"):
        approved_bundle(space, "before")
    with opened(space) as registry:
        model = registry.known(bundle.digest)
        assert words in wrong_with(model)
        assert any("BROKEN" in line for line in show_lines(registry, model))
        assert shown(registry, model)["intact"] is False
    retire(space, bundle.digest, BY)  # which needs no files


def test_a_folder_stands_for_its_bundle(space, bundle_in, tmp_path):
    bundle = bundle_in(tmp_path / "b")
    with opened(space) as registry, pytest.raises(RegistryError, match="models add"):
        find_model(registry, str(bundle.folder))
    add_bundle(space, bundle.folder, who="models add")
    model, before = promote(space, str(bundle.folder), BY, unvalidated=True)
    assert (model.digest, model.slots, before) == (bundle.digest, ("default",), "")
    assert approved_bundle(space, "default").digest == bundle.digest


def test_a_run_keeps_the_bundle_that_it_began_with(space, bundle_in, tmp_path):
    run = space.run_folder("score")
    watch = Watch()
    with pytest.raises(RegistryError, match="no bundle is approved"):
        choose_bundle(space, "approved:default", run, watch)
    first, second = bundle_in(tmp_path / "1"), bundle_in(tmp_path / "2", seed=1)
    for bundle in (first, second):
        add_bundle(space, bundle.folder, who="models add")
    promote(space, first.digest, BY, unvalidated=True)
    assert choose_bundle(space, "approved:default", run, watch) == first.folder
    promote(space, second.digest, BY, unvalidated=True)
    assert chosen_bundle("approved:default", run) == first.folder
    assert choose_bundle(space, "approved:default", run, watch) == second.folder
    assert chosen_bundle("approved:default", run) == second.folder
    bundle_in(second.folder, seed=2)
    with pytest.raises(RegistryError, match="not the bundle any more"):
        chosen_bundle("approved:default", run)
    assert chosen_bundle(str(first.folder), run) == choose_bundle(space, str(first.folder), run, watch) == first.folder


def test_wrong_use_is_told(space, bundle_in, tmp_path):
    bundle = bundle_in(tmp_path / "b")
    add_bundle(space, bundle.folder, who="models add")
    with pytest.raises(ConfigError, match="--note"):
        promote(space, bundle.digest, approver("A"), unvalidated=True)
    with pytest.raises(ConfigError, match="--note"):
        reinstate(space, bundle.digest, approver("A"))
    with pytest.raises(ConfigError, match="--by"):
        approver(" \n")
    for name in ("", "a b", "../x", "-x", "x" * 65):
        with pytest.raises(ConfigError, match="slot"):
            slot_name(name)
    assert approver("A\x1b[31m\nB", "x\ny").name == "A [31m B"


def test_the_list_has_a_line_for_each_bundle(space, bundle_in, tmp_path):
    with opened(space) as registry:
        assert list_lines(registry) == ["no bundle is in the registry"]
    first, second = bundle_in(tmp_path / "1"), bundle_in(tmp_path / "2", seed=1)
    note_validated(space, first.folder, labels_csv(tmp_path, "test"), metrics(first.digest))
    add_bundle(space, second.folder, who="models add")
    promote(space, first.digest, BY)
    with opened(space) as registry:
        heading, one, two = list_lines(registry)
        assert [row["state"] for row in listed(registry)] == ["approved", "candidate"]
        json.dumps(listed(registry))
        told = show_lines(registry, registry.known(first.digest))
    assert heading.split()[:2] == ["digest", "state"]
    assert one.split()[:5] == [first.digest[:12], "approved", "default", "Dr.", "A"]
    assert "0.8750 (0.8000 to 0.9375)" in one
    assert two.split()[1:4] == ["candidate", "-", "-"]
    assert any(line.startswith("  site north: AUROC 0.8000 (0.7000 to 0.9000), 60 scans") for line in told)
    assert any(line.endswith("promoted as default by Dr. A: tried by hand") for line in told)
