"""What is seen of dataset, tokenizer and weights before a run: nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stages.download import preflight
from stages.params import reading, whole
from stages.running.checks.row import Row
from tests import small_disks, small_pipeline
from tests.fake_hub import serving
from tests.root import ROOT

REVISION = "a" * 40
HUB = {
    "weights": "hub",
    "repo": "openai-community/gpt2",
    "revision": REVISION,
    "sha256": "0" * 64,
    "config_sha256": "0" * 64,
}


def params(**download: Any) -> Any:
    tree = small_pipeline.read_yaml(ROOT / "params.yaml")
    reading.merge(tree, {"download": download})
    return tree


def look(**download: Any) -> dict[str, Row]:
    asked = whole.check(params(**download))
    return {row.name: row for row in [*preflight.rows(asked), *preflight.further(asked)]}


def ask(folder: Path, variables: Mapping[str, str], **download: Any) -> dict[str, Row]:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "stages.running.checks.asking", "download"],
        cwd=folder,
        input=json.dumps(params(**download)),
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hub")} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [Row.model_validate_json(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row.name: row for row in rows}


def test_no_password_of_netrc_goes_unencrypted_to_another_machine(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine host.invalid login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(tmp_path) as web:  # the proxy is the fake itself
        monkeypatch.setenv("HTTP_PROXY", web.endpoint)
        row = look(data={"source": "http://host.invalid/rows.json", "sha256": "0" * 64})["dataset"]

        assert (row.state, row.exit_code) == ("problem", 78)
        assert "would go unencrypted to host.invalid" in row.found
        assert web.requests == []


def test_what_comes_with_the_project_is_there():
    assert {name: row.state for name, row in look().items()} == {"dataset": "ok", "tokenizer": "ok", "weights": "ok"}


def test_each_source_of_a_mix_is_looked_for(tmp_path):
    here, gone = tmp_path / "here.json", str(tmp_path / "gone.json")
    here.write_text("[]")
    pinned, other = {"sha256": hashlib.sha256(b"[]").hexdigest()}, {"sha256": "0" * 64}
    mix = [
        {"source": "data/instructions.json"},
        {"source": str(here)} | pinned,
        {"source": gone, "name": "b"} | pinned,
        {"source": str(here), "name": "c"} | other,
    ]
    rows = look(data={"sources": mix})

    assert {name: row.state for name, row in rows.items() if name.startswith("dataset")} == {
        "dataset instructions": "ok",
        "dataset here": "ok",
        "dataset b": "problem",
        "dataset c": "problem",
    }
    assert "download.data.sources.2.source" in str(rows["dataset b"])
    assert f"wrong SHA-256: expected {'0' * 64}, found {pinned['sha256']} (2 bytes)" in rows["dataset c"].found
    assert "set download.data.sources.3.sha256 in params.yaml to what was found" in str(rows["dataset c"])


def test_a_file_or_folder_that_is_missing_is_told(tmp_path):
    pinned = {"source": str(tmp_path / "rows.json"), "sha256": "0" * 64}
    rows = look(
        data=pinned,
        tokenizer={"source": "package:no_such"},
        model={"weights": "folder", "repo": str(tmp_path / "gone")},
    )

    assert {row.exit_code for row in rows.values()} == {78}
    assert "rows.json: no such file" in rows["dataset"].found
    assert "found 'no_such'" in rows["tokenizer"].found
    assert "gone: no such folder" in rows["weights"].found


def test_a_dataset_on_a_web_server_is_asked_for_and_not_read(tmp_path):
    (tmp_path / "rows.json").write_bytes(b"[]" * (8 << 20))
    with serving(tmp_path) as server:
        there = look(data={"source": server.url("rows.json"), "sha256": "0" * 64})
        gone = look(data={"source": server.url("other.json"), "sha256": "0" * 64})
        server.script("GET", "rows.json", "503")
        busy = look(data={"source": server.url("rows.json"), "sha256": "0" * 64})
        without = look(data={"source": server.url("rows.json"), "sha256": None})
        address = server.url("rows.json")
    away = look(data={"source": address, "sha256": "0" * 64})

    assert there["dataset"].state == "ok"
    assert (gone["dataset"].state, gone["dataset"].exit_code) == ("problem", 78)
    assert busy["dataset"].state == "warning"
    assert without["dataset"].found.startswith("download.data.sha256: needed for a URL")
    assert (away["dataset"].state, away["dataset"].exit_code) == ("problem", 69)
    assert "Connection refused" in away["dataset"].found


def test_weights_of_the_hub(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.safetensors").write_bytes(bytes(3 << 20))
    (files / "config.json").write_text("{}")
    with serving(files, revision=REVISION) as server:
        hub = {"HF_ENDPOINT": server.endpoint}
        to_come = ask(tmp_path, hub, model=HUB)["weights"]
        assert [method for method, _, _ in server.requests] == ["HEAD"]
        code = "import sys; from huggingface_hub import hf_hub_download as get\n" + "".join(
            f"get('openai-community/gpt2', '{name}', revision='{REVISION}')\n"
            for name in ("model.safetensors", "config.json")
        )
        variables = os.environ | hub | {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}
        subprocess.run([sys.executable, "-c", code], env=variables, check=True, capture_output=True)
        before = len(server.requests)
        cached = ask(tmp_path, hub, model=HUB)["weights"]
        assert len(server.requests) == before
        other = ask(tmp_path, hub, model=HUB | {"repo": "openai-community/other"})["weights"]
        offline = ask(tmp_path, hub | {"HF_HUB_OFFLINE": "1"}, model=HUB | {"revision": "b" * 40})["weights"]
    away = ask(tmp_path, hub, model=HUB | {"revision": "b" * 40})["weights"]

    assert to_come.found.startswith(f"openai-community/gpt2 at {REVISION}, 3 MiB to be downloaded")
    assert (cached.state, cached.found) == ("ok", f"openai-community/gpt2 at {REVISION}, in the hub's cache")
    assert (other.state, other.exit_code) == ("problem", 78)
    assert "HF_HUB_OFFLINE forbids" in offline.found
    assert (away.state, away.exit_code) == ("problem", 69)


def test_a_disk_without_room_for_the_weights_is_told(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.safetensors").write_bytes(bytes(3 << 20))
    with small_disks.small(tmp_path / "hub", "1m"), serving(files, revision=REVISION) as server:
        row = ask(tmp_path, {"HF_ENDPOINT": server.endpoint}, model=HUB)["weights"]

    assert (row.state, row.exit_code) == ("problem", 74)
    assert "the weights take 3 MiB, and 1 MiB are free" in row.found


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_part_of_the_weights_is_not_the_whole(tmp_path, name):
    cache = tmp_path / "hub" / "hub" / "models--openai-community--gpt2" / "snapshots" / REVISION
    cache.mkdir(parents=True)
    (cache / name).write_text("{}")
    (cache / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte": "shard-1.safetensors"}}))
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.safetensors").write_bytes(hashlib.sha256().digest())
    with serving(files, revision=REVISION) as server:
        row = ask(tmp_path, {"HF_ENDPOINT": server.endpoint}, model=HUB)["weights"]

    assert "to be downloaded" in row.found


def test_a_file_that_dvc_has_nowhere_to_copy_from_is_missed_beforehand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets" / "data").mkdir(parents=True)
    (tmp_path / "assets" / "data" / "there.json").write_text("[]")
    (tmp_path / "data.dvc").write_text("deps:\n- path: assets/data\nouts:\n- path: data\n  md5: abc.dir\n")

    assert look(data={"source": "data/there.json"})["dataset"].state == "ok"
    missing = look(data={"source": "data/nope.json"})["dataset"]

    assert missing.state == "problem"
    assert "data/nope.json: no such file; DVC copies assets/data to data" in missing.found


def test_rows_that_the_stage_would_refuse_are_told_by_the_same_error(tmp_path):
    good = [{"instruction": f"i{number}", "output": "o"} for number in range(60)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*good, {"instruction": "a", "output": ""}]))
    pinned = {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    row = look(data=pinned)["dataset rows"]

    assert (row.state, row.exit_code) == ("problem", 65)
    assert row.found.endswith(
        "rows.json: 1 problem in 61 rows:\n  - row 61: output: expected a text that is not empty; found an empty text"
    )
    assert "; or leave this row out: set on_invalid: drop " in str(row.fix)
    assert "dataset rows" not in look(data=pinned | {"on_invalid": "drop"})
    # Another file than the one that is meant is told of once.
    assert "dataset rows" not in look(data=pinned | {"sha256": "0" * 64})
