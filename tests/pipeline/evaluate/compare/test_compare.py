import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from pipeline.evaluate.compare import measure
from pipeline.evaluate.compare.write import compare
from pipeline.evaluate.delong import paired_test


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(measure.measure_pair, "__kwdefaults__", {"resamples": 100, "seed": 0})


def compared(a, b, out):
    return compare(a.write(), b.write(), out)


def column(folder, name):
    return np.array([float(row[name]) for row in folder.rows])


def test_numbers_are_those_of_the_rows(folder, tmp_path):
    a, b = folder("a", seed=1), folder("b", seed=2, skill=2.0)
    b.metrics["classes"]["virus"]["threshold"] = 0.5
    found = compared(a, b, tmp_path / "out")
    patient = [row["patient"] for row in a.rows]
    assert (found["n"], found["n_patients"]) == (200, len(set(patient)))
    p_values = []
    for name in a.classes:
        positive = np.array([row["label"] == name for row in a.rows])
        scores = [column(side, f"p_{name}") for side in (a, b)]
        auroc = found["classes"][name]["auroc"]
        areas = [roc_auc_score(positive, score) for score in scores]
        assert [auroc[side]["value"] for side in "ab"] == pytest.approx(areas, abs=1e-6)
        assert auroc["difference"]["value"] == pytest.approx(areas[1] - areas[0], abs=2e-6)
        assert auroc["a"]["low"] < auroc["a"]["value"] < auroc["a"]["high"]
        p_values.append(paired_test(*scores, positive, patient).p_value)
        assert auroc["p_value"] == pytest.approx(p_values[-1], rel=1e-5)
        for side, score in zip("ab", scores, strict=True):
            threshold = 0.5 if (side, name) == ("b", "virus") else 0.3
            found_share = (score[positive] >= threshold).mean()
            assert found["classes"][name]["sensitivity"][side]["value"] == pytest.approx(found_share, abs=1e-6)
            left = (score[~positive] < threshold).mean()
            assert found["classes"][name]["specificity"][side]["value"] == pytest.approx(left, abs=1e-6)
    adjusted = [found["classes"][name]["auroc"]["adjusted"] for name in a.classes]
    assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-5)
    right = [np.array([row["predicted"] == row["label"] for row in side.rows]) for side in (a, b)]
    assert found["accuracy"]["difference"]["value"] == pytest.approx(right[1].mean() - right[0].mean(), abs=1e-6)
    assert found["right"]["only_b"] == (right[1] & ~right[0]).sum()
    assert sum(found["right"].values()) == 200
    ill = np.array([row["label"] != "normal" for row in a.rows])
    called = np.array([row["decision"] == "anomaly" for row in a.rows])
    assert found["decision"]["sensitivity"]["a"]["value"] == pytest.approx(called[ill].mean(), abs=1e-6)


def test_the_better_model_wins_on_whichever_side_it_stands(folder, tmp_path):
    weak, strong = folder("weak", seed=1, skill=0.5), folder("strong", seed=2, skill=2.5)
    there, back = compared(weak, strong, tmp_path / "1"), compared(strong, weak, tmp_path / "2")
    assert there["verdict"].startswith("B has the higher AUROC for ")
    assert back["verdict"].startswith("A has the higher AUROC for ")
    assert there["verdict"][1:] == back["verdict"][1:]
    assert there["verdict"].endswith(f"after Holm over 3 classes; 200 scans of {there['n_patients']} patients.")
    for name, of in there["classes"].items():
        gaps = [each["auroc"]["difference"] for each in (of, back["classes"][name])]
        assert gaps[0]["value"] == pytest.approx(-gaps[1]["value"])
        assert gaps[0]["low"] == pytest.approx(-gaps[1]["high"])


def test_alike_models_are_not_said_to_differ_nor_to_be_equal(folder, tmp_path):
    found = compared(folder("a", seed=1), folder("b", seed=2), tmp_path / "out")
    assert found["verdict"].startswith("No difference in AUROC is shown: for ")
    assert found["verdict"].endswith("That does not show that the two are equal.")


def test_one_bundle_twice_is_not_tested(folder, tmp_path):
    a = folder("a")
    found = compared(a, a, tmp_path / "out")
    auroc = found["classes"]["virus"]["auroc"]
    assert (auroc["difference"]["value"], auroc["p_value"], auroc["adjusted"]) == (0, None, None)
    assert "rank the rows alike" in auroc["reason"]
    assert found["verdict"].startswith("No AUROC could be compared: ")
    assert found["notes"] == ["A and B are validations of one bundle"]


def test_two_classes_are_one_question(folder, tmp_path):
    two = {"classes": ("normal", "pneumonia")}
    found = compared(folder("a", seed=1, **two), folder("b", seed=2, skill=2.0, **two), tmp_path / "out")
    assert found["tested"] == ["pneumonia"]
    for of in found["classes"].values():
        assert of["auroc"]["adjusted"] == of["auroc"]["p_value"] is not None
    assert "Holm" not in found["verdict"]
    auroc = found["classes"]["pneumonia"]["auroc"]
    assert found["macro"]["auroc"] == {side: auroc[side] for side in ("a", "b", "difference")}


def test_one_class_compares_the_anomaly_score(folder, tmp_path):
    a, b = (folder(name, seed=seed, task="one_class") for name, seed in (("a", 1), ("b", 2)))
    found = compared(a, b, tmp_path / "out")
    ill = np.array([row["label"] != "normal" for row in a.rows])
    assert list(found["classes"]) == ["anomaly"]
    areas = [found["classes"]["anomaly"]["auroc"][side]["value"] for side in "ab"]
    assert areas == pytest.approx([roc_auc_score(ill, column(side, "anomaly_score")) for side in (a, b)], abs=1e-6)
    called = np.array([row["decision"] == "anomaly" for row in b.rows])
    assert found["accuracy"]["b"]["value"] == pytest.approx((called == ill).mean(), abs=1e-6)
    assert found["decision"]["sensitivity"]["b"]["value"] == pytest.approx(called[ill].mean(), abs=1e-6)


def test_multilabel_reads_several_labels_of_a_cell(folder, tmp_path):
    a, b = (folder(name, seed=seed, task="multilabel") for name, seed in (("a", 1), ("b", 2)))
    for side in (a, b):
        for row in side.rows[:40]:
            row["label"] = "virus|bacteria"
    found = compared(a, b, tmp_path / "out")
    virus = np.array(["virus" in row["label"] for row in a.rows])
    assert found["classes"]["virus"]["support"] == virus.sum()
    area = roc_auc_score(virus, column(b, "p_virus"))
    assert found["classes"]["virus"]["auroc"]["b"]["value"] == pytest.approx(area, abs=1e-6)
    assert found["tested"] == ["normal", "virus", "bacteria"]


def test_a_class_without_rows_or_threshold_has_a_reason(folder, tmp_path):
    a, b = folder("a", seed=1), folder("b", seed=2)
    for side in (a, b):
        for row in side.rows:
            row["label"] = "normal" if row["label"] == "bacteria" else row["label"]
    b.metrics["classes"]["virus"]["threshold"] = None
    found = compared(a, b, tmp_path / "out")
    assert found["classes"]["bacteria"]["auroc"]["reason"] == "no positive rows"
    assert found["tested"] == ["normal", "virus"]
    assert found["classes"]["virus"]["sensitivity"]["b"]["reason"] == "no threshold for this class"
    assert found["classes"]["virus"]["sensitivity"]["a"]["value"] is not None
    assert "bacteria was not tested: no positive rows" in (tmp_path / "out" / "compare.html").read_text()


def test_files_name_nobody_and_are_the_same_again(folder, tmp_path):
    a, b = folder("a", seed=1), folder("b", seed=2)
    compared(a, b, tmp_path / "1")
    compared(a, b, tmp_path / "2")
    for name in ("compare.html", "compare.json"):
        text = (tmp_path / "1" / name).read_text()
        assert text == (tmp_path / "2" / name).read_text()
        for row in a.rows:
            assert not [row[key] for key in ("source", "series_uid", "patient") if row[key] in text]
        assert "Mueller" not in text
        assert str(tmp_path) not in text
    record = json.loads((tmp_path / "1" / "compare.json").read_text())
    assert record["format"] == 1
    assert {path.name for path in (tmp_path / "1").iterdir()} == {"compare.html", "compare.json"}


def test_every_missing_number_of_the_record_has_a_reason(folder, tmp_path, numbers):
    found = compared(folder("a", seed=1, skill=9.0), folder("b", seed=2, skill=9.0), tmp_path / "out")
    records = list(numbers(found))
    assert len(records) > 30
    assert all(number.get("reason") for _, number in records if number["low"] is None)


def test_a_class_named_like_a_script_or_a_formula_does_nothing(folder, tmp_path):
    names = {"classes": ("normal", "<script>alert(1)</script>", '=HYPERLINK("http://x")')}
    found = compared(folder("a", seed=1, **names), folder("b", seed=2, **names), tmp_path / "out")
    assert list(found["classes"]) == list(names["classes"])
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_fetches_nothing_and_shows_every_class(folder, tmp_path):
    compared(folder("a", seed=1), folder("b", seed=2), tmp_path / "out")
    page = Path(tmp_path / "out" / "compare.html").read_text()
    assert page.count("<figure>") == 3
    assert "src=" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
