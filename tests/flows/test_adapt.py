import json

import yaml

from flows import adapt


def test_adapt_through_the_command_line(site):
    told = site.told["adapt"]
    assert told.code == 0, told.error
    lines = told.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["validation AUROC", "report", "bundle"]
    (run,) = (site.workspace / "runs" / "adapt").iterdir()
    assert lines[1] == f"report: {run / 'report.html'}"
    assert str(site.bundle) in lines[2]
    assert {"config.yaml", "environment.txt", "log.txt", "report.html", "request.json", "result.json"} == {
        path.name for path in run.iterdir()
    }


def test_the_configuration_that_ran_is_in_the_bundle(site):
    record = yaml.safe_load((site.bundle / "configs" / "scanshift.yaml").read_text())
    assert record["config"]["image_size"] == 64
    assert record["classes"] == ["normal", "opacity"]
    assert record["weights"] == {"origin": "random", "sha256": ""}
    (result,) = (site.workspace / "runs" / "adapt").glob("*/result.json")
    assert json.loads(result.read_text())["training"] == record["training"]


def test_the_task_is_the_function_behind_the_seal():
    assert adapt.adapt_task.fn.__wrapped__ is adapt.run_adapt
    assert adapt.adapt_task.retries == 0
