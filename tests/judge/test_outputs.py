"""The files of the stage are what the contract of its results names."""

from pathlib import Path

import pytest

from stages.common.metrics.judge import Headlines, JudgeMetrics
from stages.common.records import read_metrics, write_metrics
from stages.common.results.judge import JUDGE_METRICS, SCORES
from stages.judge.__main__ import main
from stages.params.reading import read_yaml
from tests.judge.test_stage import configure, folder  # noqa: F401 a fixture
from tests.root import ROOT


@pytest.mark.parametrize("mode", ["score", "pairwise"])
def test_what_is_written_is_what_the_contract_names(folder, mode):  # noqa: F811
    """Read as the models of stages.common.results and written again, the files are the same bytes."""
    configure(mode=mode)
    main()
    for path, kind in ((JUDGE_METRICS, JudgeMetrics), (SCORES, Headlines)):
        write_metrics(Path("again.json"), read_metrics(path, kind, made_by=""))
        assert Path("again.json").read_bytes() == path.read_bytes()


def test_no_other_stage_depends_on_what_the_judge_writes():
    """So a field more in it makes nothing but the judge run again."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    for contract in ("stages/common/results/judge.py", "stages/common/metrics/judge.py"):
        assert [name for name, stage in stages.items() if contract in stage["deps"]] == ["judge"]
