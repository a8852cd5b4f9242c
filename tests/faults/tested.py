"""Faults within one module, each of which a test injects with a real server, disk or process: pytest runs these tests.

A row is ok if its tests pass, and says in the tests' own words what they have seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.table import FAIL, OK, SKIPPED, Row
from tests.root import ROOT


@dataclass(frozen=True)
class ByTests:
    """A fault and the tests that inject it.

    Args:
        name: what happens, in a few words.
        about: what would be lost or wrong.
        door: how the program was started.
        tests: the tests, as ``FILE::FUNCTION`` under tests/; all parameters of a function are run.
    """

    name: str
    about: str
    door: str
    tests: Sequence[str]


@dataclass(frozen=True)
class Result:
    """How the runs of one test ended."""

    passed: int = 0
    failed: int = 0
    skipped: str = ""
    seconds: float = 0.0


def run(faults: Sequence[ByTests]) -> Iterator[Row]:
    """Run the tests of some faults in one pytest, and yield a row for each fault."""
    if not faults:
        return
    results = _results(sorted({test for fault in faults for test in fault.tests}))
    for fault in faults:
        yield row(fault, results)


def row(fault: ByTests, results: dict[str, Result]) -> Row:
    """The row of a fault.

    Args:
        fault: the fault.
        results: how each test ended, by its name.
    """
    found = {test: results.get(test, Result()) for test in fault.tests}
    seconds = sum(result.seconds for result in found.values())
    if wrong := [test for test, result in found.items() if result.failed]:
        return Row(fault.name, fault.about, fault.door, f"failed: {', '.join(wrong)}", FAIL, seconds)
    if never := [test for test, result in found.items() if not result.passed and not result.skipped]:
        return Row(fault.name, fault.about, fault.door, f"not run: {', '.join(never)}", FAIL, seconds)
    if reasons := [result.skipped for result in found.values() if not result.passed]:
        return Row(fault.name, fault.about, fault.door, reasons[0], SKIPPED, seconds)
    seen = "; ".join(sentence(test) + _times(result.passed) for test, result in found.items())
    return Row(fault.name, fault.about, fault.door, seen, OK, seconds)


def sentence(test: str) -> str:
    """What a test's name says: ``a/test_b.py::test_a_killed_run_goes_on`` is "a killed run goes on"."""
    return test.rpartition("::test_")[2].replace("_", " ")


def _times(count: int) -> str:
    return f" ({count} ways)" if count > 1 else ""


def _results(tests: Sequence[str]) -> dict[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        # Some tests record properties, which only this form of the report takes.
        command += ["-o", "junit_family=xunit1"]
        command += ["-m", "slow or not slow", *(f"tests/{test}" for test in tests)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        if not report.exists():
            print(done.stdout + done.stderr, file=sys.stderr)
            return {}
        if done.returncode:
            print(done.stdout, file=sys.stderr)
        return read(report)


def read(report: Path) -> dict[str, Result]:
    """How each test ended, from pytest's report; the parameters of a test are taken together."""
    found: dict[str, Result] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        name = f"{file}.py::{case.get('name', '').partition('[')[0]}"
        failed = case.find("failure") is not None or case.find("error") is not None
        skip = case.find("skipped")
        before = found.get(name, Result())
        found[name] = Result(
            before.passed + (skip is None and not failed),
            before.failed + failed,
            before.skipped or ("" if skip is None else skip.get("message", "skipped")),
            before.seconds + float(case.get("time", 0)),
        )
    return found


FAULTS: Sequence[ByTests] = (
    ByTests(
        "code and inputs changed during a training",
        "the lock has them beside other bytes",
        "dvc",
        ("running/test_held.py::test_code_and_inputs_changed_during_the_training_are_named",),
    ),
    ByTests(
        "a key twice in rows of either kind",
        "the last one wins",
        "stage",
        ("download/test_dataset.py::test_a_key_given_twice_is_refused_by_row",),
    ),
    ByTests(
        "another measure, or another reading of replies",
        "scores of two judges are compared",
        "stage",
        (
            "judge/judges/test_reference.py::test_other_code_and_other_train_rows_are_another_judge",
            "judge/test_stage.py::test_how_scores_are_made_is_part_of_what_runs_are_compared_by",
            "judge/test_stage.py::test_replies_that_are_read_in_another_way_are_those_of_another_judge",
        ),
    ),
    ByTests(
        "twenty kills while MLflow's database is made",
        "no later run is tracked",
        "program",
        ("running/tracking/test_database.py::test_kills_at_twenty_moments_leave_no_run_untracked",),
    ),
    ByTests(
        "four processes make MLflow's database at once",
        "no later run is tracked",
        "program",
        ("running/tracking/test_database.py::test_four_at_once_are_all_tracked",),
    ),
    ByTests(
        "disks that are full or fill up",
        "the training",
        "stage, dvc",
        (
            "finetune/test_full_disks.py::test_a_full_cache_costs_the_costs_and_nothing_else",
            "finetune/test_full_disks.py::test_a_disk_that_takes_no_copy_of_dvc_is_told_before_training",
            "finetune/test_full_disks.py::test_a_disk_of_dvc_that_is_filled_meanwhile_costs_no_step",
            "flows/test_stage_process.py::test_what_dvc_cannot_write_is_an_error_of_input_and_output",
        ),
    ),
    ByTests(
        "an encoding without a letter of a file's name",
        "the stage",
        "stage",
        ("running/test_streams.py::test_a_stage_whose_messages_an_encoding_lacks_ends_well",),
    ),
    ByTests(
        "a read-only artifacts/, for every stage",
        "the stage's work",
        "stage",
        ("running/test_writable.py::test_a_stage_that_cannot_write_its_results_does_no_work",),
    ),
    ByTests(
        "generate killed, run with other values, and run again",
        "the answers of the first run",
        "stage",
        (
            "generate/test_stage.py::test_a_killed_run_goes_on_after_another_one_with_other_values",
            "generate/test_journal.py::test_the_journals_of_other_runs_used_last_are_kept",
        ),
    ),
    ByTests(
        "a server of a judge refuses for once (400, 413, 422)",
        "a verdict, for ever",
        "stage",
        (
            "judge/test_panel.py::test_a_request_that_a_server_refuses_once_is_asked_again_by_the_next_run",
            "judge/judges/test_openai.py::test_a_prompt_that_a_server_had_no_room_for_is_asked_again",
            "judge/test_self_test.py::test_requests_that_are_refused_say_nothing_of_the_judge",
        ),
    ),
    ByTests(
        "a judge that the self-test refuses",
        "what it was asked",
        "stage",
        ("judge/test_self_test.py::test_a_judge_that_was_refused_is_not_asked_again",),
    ),
    ByTests(
        "a server of a judge that fails in every way, or drips",
        "the verdicts",
        "stage",
        (
            "judge/judges/test_ollama.py::test_a_fault_that_lasts_fails_this_answer_after_all_attempts",
            "judge/judges/test_ollama.py::test_a_call_that_does_not_end_is_ended",
            "judge/test_stage.py::test_a_gone_ollama_leaves_earlier_results_as_they_were",
        ),
    ),
    ByTests(
        "a server of files that drips",
        "days",
        "stage",
        (
            "download/test_fetch.py::test_a_server_that_drips_is_left",
            "download/test_hub.py::test_a_hub_that_drips_is_left_and_asked_again_later",
        ),
    ),
    ByTests(
        "a damaged file in the hub's cache, or on its way",
        "every later run",
        "stage",
        (
            "download/test_hub.py::test_a_blob_that_was_damaged_on_disk_is_fetched_once_more",
            "download/test_hub.py::test_bytes_that_were_damaged_on_the_way_are_fetched_once_more",
        ),
    ),
    ByTests(
        "weights with NaN, an own head, a missing tensor, or cut off",
        "a circle of advice",
        "stage",
        ("download/test_stage.py::test_weights_that_no_stage_can_load_are_refused_here",),
    ),
    ByTests(
        "weights as pytorch_model.bin, in shards, or in a folder",
        "the model, without a word",
        "stage",
        (
            "download/test_hub.py::test_weights_in_other_formats_are_named",
            "download/test_hub.py::test_shards_from_the_hub",
            "download/test_stage.py::test_shards_in_a_folder_become_one_file",
            "download/test_stage.py::test_shards_that_do_not_serve",
            "download/test_stage.py::test_a_model_in_a_folder",
        ),
    ),
    ByTests(
        "an HTML page, an empty file, a Git LFS pointer",
        "its SHA-256 is pinned",
        "stage",
        (
            "download/test_fetch.py::test_what_is_no_data_is_named_and_never_pinned",
            "download/test_stage.py::test_what_is_no_model_is_never_pinned",
        ),
    ),
    ByTests(
        "workspaces and temporary folders of killed runs",
        "disk",
        "program",
        (
            "flows/test_workspace.py::test_what_a_run_killed_at_any_moment_or_under_another_host_name_has_left_is_removed",
            "running/test_temporary.py::test_what_a_killed_process_has_left_is_removed_a_day_later",
        ),
    ),
    ByTests(
        "a dvc.lock from elsewhere that leads out of the folder",
        "any file of the reader's",
        "chat, restore, compare",
        (
            "running/test_lock.py::test_chat_with_a_run_of_a_hostile_store_replaces_no_file",
            "running/test_lock.py::test_no_door_follows_a_hostile_list_of_a_folder",
            "running/test_lock.py::test_a_hostile_lock_restores_nothing",
            "running/test_lock.py::test_a_commit_with_a_hostile_lock_is_not_compared",
        ),
    ),
    ByTests(
        "a judge's key over http, and redirects",
        "the key",
        "stage",
        (
            "judge/judges/test_openai.py::test_a_key_does_not_go_unencrypted_to_another_machine",
            "judge/judges/test_openai.py::test_a_redirect_is_not_followed",
        ),
    ),
    ByTests(
        "control characters in data and output",
        "the terminal",
        "program, flow",
        (
            "running/test_console.py::test_an_error_of_a_stage_is_shown_as_text",
            "running/test_console.py::test_whatever_is_printed_is_a_literal_or_printable",
            "flows/test_stage_process.py::test_output_of_a_stage_is_shown_without_its_control_characters",
        ),
    ),
    ByTests(
        "$, |, ` and <script> in texts",
        "the judge, after all verdicts; a page",
        "stage, flow",
        (
            "judge/scores/test_plot.py::test_scores_of_categories_with_any_name_are_drawn",
            "judge/scores/test_plot.py::test_runs_of_any_name_are_drawn",
            "flows/test_markdown.py::test_a_text_in_a_fence_is_one_block_of_code",
            "flows/test_markdown.py::test_a_text_in_a_cell_is_one_cell_of_text",
        ),
    ),
    ByTests(
        "no .git, or another owner's",
        "wrong advice",
        "flow",
        (
            "flows/test_pipeline.py::test_a_folder_without_git_is_told_before_a_server_starts",
            "running/test_git.py::test_a_repository_of_another_owner_has_its_own_fix",
        ),
    ),
    ByTests(
        "proxies: SOCKS, dead, refusing, and around this machine's own servers",
        "wrong advice",
        "stage, flow",
        (
            "download/test_fetch.py::test_a_socks_proxy_is_named",
            "download/test_fetch.py::test_a_proxy_that_refuses_is_named",
            "download/test_fetch.py::test_a_dead_proxy_is_named",
            "download/test_hub.py::test_a_socks_proxy_is_named",
            "judge/judges/test_transport.py::test_a_proxy_is_not_asked_for_this_machine",
            "flows/test_proxies.py::test_a_proxy_is_not_asked_for_the_temporary_server",
        ),
    ),
    ByTests(
        "values of params.yaml and --set that are wrong",
        "Python's own texts",
        "stage, flow",
        (
            "params/test_params.py::test_a_wrong_value_is_told_in_words",
            "params/test_params.py::test_what_python_says_of_a_value_is_not_shown",
            "flows/test_profiles.py::test_what_gave_a_wrong_value_is_named",
            "flows/test_pipeline.py::test_a_users_mistake_is_told_before_anything_runs",
            "download/formats/test_mappings.py::test_a_mapping_to_a_key_that_is_not_there_is_a_mistake_of_the_configuration",
        ),
    ),
    ByTests(
        "a temperature near 0",
        "a token outside the vocabulary",
        "stage",
        (
            "params/test_params.py::test_a_temperature_is_0_or_large_enough_to_sample",
            "gpt2/test_sampling.py::test_a_tiny_temperature_draws_one_of_the_likeliest_tokens",
        ),
    ),
    ByTests(
        "a batch in parts, with dropout",
        "another training than in one part",
        "stage",
        ("finetune/test_trainer.py::test_gradient_accumulation_makes_the_same_steps",),
    ),
    ByTests(
        "too little memory in generate; a judge's options too small",
        "wrong advice",
        "stage",
        (
            "generate/test_stage.py::test_a_shortage_of_memory_says_what_to_lower_without_a_traceback",
            "judge/test_self_test.py::test_an_option_that_is_too_small_is_what_to_change",
            "judge/judges/test_ollama.py::test_a_verdict_that_waits_for_a_slot_of_its_server_is_told_of_judge_parallel",
        ),
    ),
    ByTests(
        "answers in Markdown whose references are",
        "a template leak is counted",
        "stage",
        (
            "tokenize/test_leaks.py::test_what_the_reference_holds_too_is_no_leak",
            "judge/scores/test_faults.py::test_headings_are_no_leak_where_the_reference_has_them",
        ),
    ),
    ByTests(
        "the stage, dvc or the guard killed once",
        "the run",
        "flow",
        ("flows/test_pipeline.py::test_what_is_killed_from_outside_is_tried_once_more",),
    ),
    ByTests(
        "dvc or the guard killed while a stage saves its work",
        "the work",
        "flow",
        ("flows/test_stage_process.py::test_a_stage_saves_its_work_when_its_guard_or_its_dvc_is_killed",),
    ),
    ByTests(
        "Prefect's server gone, or without its table of artifacts",
        "the run's own result",
        "flow",
        (
            "flows/test_outcome.py::test_a_run_whose_server_is_gone_stops_at_once",
            "flows/test_outcome.py::test_an_artifact_that_cannot_be_stored_fails_no_run",
        ),
    ),
)
