"""The tags by which Prefect's lists tell runs apart."""

from __future__ import annotations

from flows import run_tags


def test_a_run_has_a_tag_for_each_thing_that_it_was_asked_for() -> None:
    given = {"finetune.epochs": 4, "finetune": {"learning_rate": 0.001, "seed": 7}, "judge.model": "llama3.1"}
    # Several sections have a seed.
    assert run_tags.asked("current", given) == ["epochs=4", "lr=0.001", "model=llama3.1", "finetune.seed=7"]
    assert run_tags.asked("gpt2-medium", {}) == ["profile=gpt2-medium"]
    assert run_tags.asked("current", {"finetune.epochs": 4}, 5) == ["trainings=5", "epochs=4"]
    assert run_tags.asked("current", {}) == []


def test_a_long_list_is_cut_and_what_is_left_out_is_counted() -> None:
    given = {"epochs": 4, "batch_size": 8, "warmup_steps": 7, "max_steps": 9, "clip_norm": 1.0, "patience": None}
    tags = run_tags.asked("quick", {"finetune": given})
    assert tags == [
        "profile=quick",
        "epochs=4",
        "finetune.batch_size=8",
        "warmup_steps=7",
        "max_steps=9",
        "2 more",
    ]


def test_a_tag_is_short_and_holds_no_password_and_no_control_character() -> None:
    password = {"download.data.source": "https://me:secret@example.org/rows.json"}
    assert run_tags.asked("current", password) == ["data.source=https://***@example.o..."]
    control = {"judge.model": "\x1b[2Jred"}
    assert run_tags.asked("current", control) == [r"model=\x1b[2Jred"]
