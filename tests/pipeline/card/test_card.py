"""The model cards of real bundles."""

import json
import re

import pytest

from models.errors import BundleError
from pipeline.card.facts import FILE, CardFacts, read_facts
from pipeline.card.render import CARD, figure, model_card
from pipeline.card.statements import QUESTIONS
from pipeline.model_record import read_record

KINDS = ("multiclass", "volume", "multilabel", "one_class")
SECTIONS = (
    "Details",
    "Intended use",
    "Data",
    "Reference standard",
    "Preparation",
    "Model",
    "Training",
    "Decision",
    "Figures on the validation rows",
    "By site",
    "Calibration",
    "Shift, ladder and choices",
    "Worth of pretraining",
    "Failure analysis",
    "Risks and limitations",
    "What was not done",
    "How to use",
    "Ethics and privacy",
    "Provenance",
    "Not stated",
)


def section(card, name):
    return re.search(rf"^## {re.escape(name)}$(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)[1]


def tables(card):
    """Each table as a list of rows of cells; a bar behind a backslash is text."""
    found, rows = [], []
    for line in [*card.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(re.split(r"(?<!\\)\|", line.strip())[1:-1])
        elif rows:
            found.append(rows)
            rows = []
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_there_and_says_something(made, kind):
    card = made(kind).text(CARD)
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == list(SECTIONS)
    assert all(section(card, name).strip() for name in SECTIONS)
    assert "For research use only" in card
    assert "MILLER" not in card + made(kind).text(FILE)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_whole_and_nothing_of_the_template_is_left(made, kind):
    card = made(kind).text(CARD)
    for table in tables(card):
        assert len(table) > 2
        assert {len(row) for row in table} == {len(table[0])}
        assert set("".join(table[1])) == {"-"}
    assert "{%" not in card
    assert "None" not in card
    assert "nan" not in re.findall(r"\w+", card)
    assert "{{" not in card.replace(r"{{ 7\*7 }}", "")  # a site of that name
    assert not re.search(r"\n\n\n\n", card)


def test_names_from_outside_are_text(made):
    for kind in KINDS:
        card = made(kind).text(CARD)
        assert not re.search(r"<[a-z/]", card)
        assert not re.search(r"(?<!\\)\]\((?!#not-stated)", card)
        assert r"north\`\[x\](javascript:1)" in card
        assert r"{{ 7\*7 }}&lt;b&gt;" in card
    assert r"two readers \| &lt;script&gt;alert(2)&lt;/script&gt;" in made("multiclass").text(CARD)


def test_what_nobody_stated_is_named_with_what_it_asks(made):
    card = made("volume").text(CARD)
    for name, question in QUESTIONS.items():
        assert f"- `{name}`: {question}" in section(card, "Not stated")
    assert card.count("**not stated**") == len(QUESTIONS) + 1  # each in its place, and once to explain the mark
    stated = section(made("multiclass").text(CARD), "Not stated")
    assert "`ethics`" in stated
    assert "`reference_standard`:" not in stated


def test_scans_patients_and_shares_are_those_of_the_split(made):
    data = section(made("volume").text(CARD), "Data")
    assert "| train | 8 of 8 (33.3 %) | 8 of 8 (33.3 %) | 8 of 8 (33.3 %) | 24 of 24 |" in data
    assert "| test | 4 of 4 (33.3 %) | 4 of 4 (33.3 %) | 4 of 4 (33.3 %) | 12 of 12 |" in data
    assert "Images | median 3, 5 % to 95 %: 3 to 3" in data
    detector = section(made("one_class").text(CARD), "Data")
    assert "| val | 24 of 24 (75.0 %) | 8 of 8 (25.0 %) | 32 of 32 |" in detector
    assert "| side | normal | anomaly | all |" in detector


@pytest.mark.parametrize("kind", ["volume", "multilabel"])
def test_each_class_stands_with_prevalence_threshold_and_intervals(made, kind):
    bundle = made(kind)
    metrics, record = read_facts(bundle).metrics, read_record(bundle)
    shown = section(bundle.text(CARD), "Figures on the validation rows")
    for name, row in metrics["classes"].items():
        share = f"{row['support']} of 24 | {100 * row['support'] / 24:.1f} %"
        line = f"| {name} | {share} | {record.thresholds[name]:.4f} | {figure(row['auroc'])} |"
        assert line in shown
        assert figure(row["npv"]) in shown
    assert f"| {record.anomaly_threshold:.4f} | {figure(metrics['anomaly']['auroc'])} |" in shown


def test_a_detectors_card_tells_of_its_promise_its_normals_and_no_probability(made):
    card = made("one_class").text(CARD)
    assert "22 normal scans of 22 patients" in card
    assert "2 normal scans of 2 patients that stood out most" in card
    assert "24 held-out normal scans of 24 patients" in card
    decision = section(card, "Decision")
    assert "policy false_alarm=0.1: at most 0.1 of normal scans" in decision
    assert "true false-alarm rate of 1.0 % to 21.1 % in 95 % of cases" in decision  # Beta(2, 23)
    assert "not a probability" in section(card, "Calibration")
    assert "against all normals | 8 of 32 | 25.0 %" in section(card, "Figures on the validation rows")
    assert "epoch" not in section(card, "Figures on the validation rows")


def test_failures_count_what_the_decision_missed(made):
    bundle = made("one_class")
    decision = read_facts(bundle).metrics["anomaly"]
    missed = round(8 * (1 - decision["sensitivity"]["value"]))
    assert f"- of 8 abnormal scans, the decision missed {missed}\n" in section(bundle.text(CARD), "Failure analysis")


def test_confused_classes_are_named_most_frequent_first(made):
    bundle = made("volume")
    facts = read_facts(bundle)
    confusion = facts.metrics["confusion"] | {"counts": [[6, 2, 0], [0, 5, 3], [0, 0, 8]]}
    card = model_card(
        read_record(bundle), facts.model_copy(update={"metrics": facts.metrics | {"confusion": confusion}})
    )
    found = section(card, "Failure analysis")
    assert "3 of 8 scans of mass were taken for cyst\n- 2 of 8 scans of normal were taken for mass" in found


def test_the_card_can_be_written_again_from_what_the_bundle_keeps(made):
    for kind in KINDS:
        bundle = made(kind)
        assert model_card(read_record(bundle), read_facts(bundle)) == bundle.text(CARD)


def test_a_ladder_and_ranked_backbones_are_told(made):
    bundle = made("volume")
    rung = {"name": "probe", "measure": "AUROC", "value": 0.8, "low": 0.7, "high": 0.9, "decision": "kept | first"}
    skipped = rung | {"name": "coral", "value": None, "low": None, "high": None, "decision": "out of time"}
    shift = {"test": {"rejected": True, "p_value": 0.0004}, "test_reason": "", "kind": "covariate"}
    rows = [
        {"backbone": "resnet18", "reason": "", "auroc": 0.8, "error": 0.02},
        {"backbone": "vgg11", "reason": "no weights"},
    ]
    more = {
        "ladder": {"kept": "probe", "rungs": [rung, skipped], "shift": shift},
        "backbones": {"rule": "the best two", "rows": rows},
    }
    card = model_card(read_record(bundle), read_facts(bundle).model_copy(update=more))
    found = section(card, "Shift, ladder and choices")
    assert "A shift was shown between source and target (p = 0.0004; kind: covariate)." in found
    assert r"| probe (kept) | AUROC | 0.800 (0.700 to 0.900) | kept \| first |" in found
    assert "| coral | AUROC | – | out of time |" in found
    assert "| resnet18 | 0.800 ± 0.020 |" in found
    assert "| vgg11 | no weights |" in found


def test_a_bundle_whose_facts_make_no_sense_is_refused(made, tmp_path):
    bundle = made("volume")
    (tmp_path / "docs").mkdir()
    for text in ("{", "[]", json.dumps({"format": 2}), '{"format": 1, "metrics": {}, "versions": {}, "more": 1}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(BundleError, match=r"card\.json makes no sense"):
            read_facts(type(bundle)(tmp_path, ""))
    assert CardFacts.model_validate(json.loads(bundle.text(FILE))) == read_facts(bundle)
