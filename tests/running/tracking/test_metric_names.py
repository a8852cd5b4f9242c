"""What MLflow gets of the judge's figures."""

from stages.common.metrics.judge import Right, RightDifference
from stages.running.tracking import metric_names
from tests import results


def test_right_answers_and_open_rows_are_metrics():
    share = results.interval(0.4, 0.6)
    tuned = results.model_scores(60.0, scored=10, n=12, right=Right(n=10, right=5, share=0.5, interval=share), open=2)
    base = results.model_scores(1.0, scored=12, n=12)
    change = RightDifference(n=10, gained=5, lost=0, difference=0.5, interval=results.interval(0.1, 0.9))
    judged = results.judge_metrics(results.identity(), tuned, base=base, right_difference=change)
    found = metric_names.of_run(None, None, judged)
    right = {name: value for name, value in found.items() if "right" in name or "open" in name}
    assert right == {
        "score/n_open": 2.0,
        "score/right_n": 5.0,
        "score/right_of": 10.0,
        "score/right": 0.5,
        "score/right_ci95_lower": 0.4,
        "score/right_ci95_upper": 0.6,
        "score/right_vs_base": 0.5,
        "score/right_vs_base_ci95_lower": 0.1,
        "score/right_vs_base_ci95_upper": 0.9,
    }
