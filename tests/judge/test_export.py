"""A model is taken away in each format, and is called good only where its answers were compared."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import ConfigError, DataError, ServiceUnavailable
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.generate import RESPONSES, Response
from stages.judge.export import answers, gguf_file, hf, modelfile, optional, quantised, report, with_ollama
from stages.judge.export.answers import Difference, Found
from stages.judge.export.report import Exported, Report
from stages.judge.export.scores import ScoreDifference
from stages.judge.export.taken import Row
from stages.prompts.prompt import PromptStyle
from stages.prompts.styles import STYLES
from tests import fake_hub_repository, small_pipeline
from tests.fake_hub_repository import WRITER, HubOfRepositories
from tests.fake_ollama import FakeOllama, text
from tests.root import ROOT

EXTRA = "export"


def response(text="Red.", reason="end_of_text", tokens=3, id="1"):
    return Response(id=id, model="tuned", text=text, stop_reason=reason, tokens=tokens)


def row(expected, content="Name a colour."):
    message = {"role": "user", "content": "Name a colour.", "input": ""}
    return Row(expected.id, message, content, "<|user|>\nName a colour.", [1, 2], 4, expected)


SAME = Found("Red.", tokens=3, ended=True, same_prompt=True)


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        (SAME, False),
        (Found("Red.", tokens=None, ended=True, same_prompt=True), False),  # the program does not tell
        (Found("Red", tokens=3, ended=True, same_prompt=True), True),
        (Found("Red.", tokens=4, ended=True, same_prompt=True), True),
        (Found("Red.", tokens=3, ended=False, same_prompt=True), True),
        (Found("Red.", tokens=3, ended=True, same_prompt=False), True),
    ],
)
def test_an_answer_differs_by_its_text_its_length_its_end_or_its_prompt(found, differs):
    assert bool(answers.differences([row(response())], [found])) == differs


def test_another_program_s_answers_take_the_place_of_the_pipeline_s():
    here = [response(id="1"), response(id="2", reason="context", tokens=0, text="")]
    found = Found("Blue", tokens=9, ended=False, same_prompt=True)

    assert answers.as_responses([row(here[0])], [found], here) == [
        response(id="1", text="Blue", reason="max_new_tokens", tokens=9),
        here[1],
    ]


def difference(prompt=True):
    return Difference(id="7", expected="Red.", found="Blue.", expected_tokens=3, found_tokens=3, prompt=prompt)


def score(low, high):
    return ScoreDifference(mean_here=40.0, mean_there=39.0, difference=-1.0, low=low, high=high, rows=190)


@pytest.mark.parametrize(
    ("differing", "scores", "fewer_bits", "expected"),
    [
        ([], None, False, "same"),
        ([], None, True, "same"),
        ([difference()], score(-2.0, 0.5), False, "differs"),
        ([difference()], score(-2.0, 0.5), True, "close"),
        ([difference()], score(None, None), True, "close"),
        ([difference()], score(-2.0, -0.5), True, "lower"),
        ([difference(prompt=False)], score(-2.0, 0.5), True, "differs"),  # a wrong template, whatever the bits
    ],
)
def test_the_verdict(differing, scores, fewer_bits, expected):
    assert report.verdict(differing, scores, quantised=fewer_bits) == expected


def exported(verdict, **more):
    return Exported(format=more.pop("format", "hf"), path="hf", sha256={}, verdict=verdict, rows=201, **more)


def whole(*exports):
    return Report(run="HEAD", responses="0" * 64, rows=201, exports=list(exports))


def test_the_report_in_words():
    quantised_one = exported("close", format="gguf q8_0", differing=[difference()], score=score(-2.0, 0.5))
    wrong = exported("differs", differing=[difference(prompt=False)] * 7, score=score(None, None))

    assert report.lines(whole(exported("same", answered_with="transformers 5"), quantised_one)) == [
        "hf           same: all 201 answers are the pipeline's, to the last token",
        "             answered with transformers 5",
        "gguf q8_0    close: 1 of 201 answers differs; score -1.0 points [-2.0, +0.5] on 190 rows",
    ]
    assert report.lines(whole(wrong))[0] == (
        "hf           differs: 7 of 201 answers differ, 7 by the prompt; score -1.0 points no interval on 190 rows"
    )
    assert report.lines(whole(wrong))[-2:] == [
        "             7: expected 'Red.', found 'Blue.'",
        "             and 2 more in export.json",
    ]
    assert "nobody knows" in report.lines(whole(exported("not compared", why_not="no program")))[0]


def test_what_was_not_compared_or_differs_is_not_called_good():
    good = exported("same")
    absent = exported("not compared", format="gguf f32", why_not="xllamacpp is not installed")
    no_server = exported("not compared", format="ollama f32", why_not="no server")

    assert report.problem(whole(good, exported("close")), "out") is None
    for wrong, kind in ((absent, ConfigError), (no_server, ServiceUnavailable)):
        problem = report.problem(whole(good, wrong), "out")
        assert isinstance(problem, kind)
        assert "out: 1 of 2 exports may not be called good" in problem.what
    for verdict in ("differs", "lower"):
        problem = report.problem(whole(good, absent, exported(verdict)), "out")
        assert isinstance(problem, DataError)
        assert f"hf ({verdict})" in problem.what


def test_a_package_that_is_missing_is_named_with_what_installs_it():
    with pytest.raises(ConfigError, match=r"no_such_package is not installed\n.*install -r requirements-export\.lock"):
        optional.need("no_such_package", "an export")


def test_the_packages_of_the_extra_are_declared():
    import re
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][EXTRA]

    assert sorted(re.match(r"[\w-]+", entry)[0] for entry in declared) == sorted(optional.PACKAGES)
    locked = (ROOT / "requirements-export.lock").read_text().splitlines()
    assert locked[1] == "-r requirements.lock"
    assert set(declared) < set(locked)  # and what they need themselves


@pytest.mark.parametrize(
    ("name", "shape", "quantisation", "expected"),
    [
        ("blk.0.attn_norm.weight", (768,), "q8_0", "F32"),
        ("position_embd.weight", (1024, 768), "q4_k_m", "F32"),
        ("token_embd.weight", (50257, 768), "f16", "F16"),
        ("token_embd.weight", (50257, 768), "q8_0", "Q8_0"),
        ("token_embd.weight", (50257, 16), "q8_0", "F16"),  # narrower than a block of 32
        ("token_embd.weight", (50257, 768), "q4_k_m", "Q6_K"),
        ("token_embd.weight", (50257, 128), "q4_k_m", "Q8_0"),  # narrower than a block of 256
        ("blk.3.attn_qkv.weight", (2304, 768), "q4_k_m", "Q5_K"),
        ("blk.3.attn_output.weight", (768, 768), "q4_k_m", "Q4_K"),
        ("blk.3.ffn_up.weight", (512, 128), "q4_k_m", "Q5_0"),
        # Of 12 layers the first eighth, the last eighth, and every third between count for more.
        ("blk.0.ffn_down.weight", (768, 3072), "q4_k_m", "Q6_K"),
        ("blk.1.ffn_down.weight", (768, 3072), "q4_k_m", "Q4_K"),
        ("blk.3.ffn_down.weight", (768, 3072), "q4_k_m", "Q6_K"),
        ("blk.11.ffn_down.weight", (768, 3072), "q4_k_m", "Q6_K"),
    ],
)
def test_the_type_of_a_tensor(name, shape, quantisation, expected):
    assert quantised.type_of(name, shape, 12, quantisation) == expected


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("wte.weight", "token_embd.weight"),
        ("wpe.weight", "position_embd.weight"),
        ("ln_f.bias", "output_norm.bias"),
        ("h.11.mlp.c_proj.weight", "blk.11.ffn_down.weight"),
        ("h.0.attn.c_proj.bias", "blk.0.attn_output.bias"),
    ],
)
def test_the_names_in_a_gguf_file(parameter, expected):
    assert gguf_file.name_of(parameter) == expected


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K"])
def test_packed_weights_are_near_the_weights(kind):
    gguf = pytest.importorskip("gguf", reason="the extra export is not installed")
    pytest.importorskip("xllamacpp", reason="the extra export is not installed")
    values = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)

    packed = quantised.packed(values, kind)

    read = gguf.quants.dequantize(packed, getattr(gguf.GGMLQuantizationType, kind))
    bits = int(kind[1])
    assert packed.nbytes < values.nbytes * (bits + 1) / 32
    assert 0 < np.abs(read - values).max() < np.abs(values).max() / 2 ** (bits - 2)


def test_a_modelfile():
    assert modelfile.text("./m.gguf", STYLES["phi3"], context=256, max_new_tokens=32) == (
        "FROM ./m.gguf\n"
        'TEMPLATE """{{ range .Messages }}{{ if eq .Role "user" }}<|user|>\n{{ .Content }}\n<|assistant|>:\n'
        '{{ else if eq .Role "assistant" }}{{ .Content }}<|endoftext|>{{ end }}{{ end }}"""\n'
        'PARAMETER stop "<|endoftext|>"\nPARAMETER temperature 0\nPARAMETER repeat_penalty 1\n'
        "PARAMETER num_ctx 256\nPARAMETER num_predict 32\n"
    )


def test_a_style_that_a_modelfile_cannot_hold_is_refused():
    style = PromptStyle(name="x", with_input="{instruction}{input}", without_input="{{ {instruction}")

    with pytest.raises(ConfigError, match=r"the prompt style x: a Modelfile cannot hold \{\{"):
        modelfile.text("./m.gguf", style, context=256, max_new_tokens=32)


def program(folder: Path, body: str) -> None:
    path = folder / "ollama"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_ollama_is_asked_for_a_model_of_its_own_that_is_removed(tmp_path, monkeypatch):
    program(tmp_path, f'echo "$@" >> {tmp_path}/asked')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with FakeOllama([text(" Red."), text("Red", reason="length")]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with with_ollama.opened(tmp_path / "Modelfile-f32", "llama3") as opened:
            assert opened.answer(row(response())) == Found("Red.", tokens=None, ended=True, same_prompt=True)
            assert opened.answer(row(response())).ended is False
            assert server.chats[0]["messages"] == [{"role": "user", "content": "Name a colour."}]
            assert server.chats[0]["options"] == {"num_predict": 4}
        with with_ollama.opened(tmp_path / "Modelfile-f32"):
            pass
    *ours, created, removed = (tmp_path / "asked").read_text().splitlines()
    assert ours == [f"create llama3 -f {tmp_path}/Modelfile-f32", "rm llama3"]
    name = created.split()[1]
    assert name.startswith("instruct-pipeline-export-")
    assert removed == f"rm {name}"


def test_without_ollama_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable, match="no program ollama"), with_ollama.opened(tmp_path):
        pass
    program(tmp_path, "echo 'Error: no such file' >&2; exit 1")
    with FakeOllama([]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with (
            pytest.raises(ServiceUnavailable, match="ollama create: Error: no such file"),
            with_ollama.opened(tmp_path),
        ):
            pass
    with pytest.raises(ServiceUnavailable, match="does not answer"), with_ollama.opened(tmp_path):
        pass  # the server is gone


def test_the_card_names_data_and_base_weights():
    hub = {"data": {"source": "https://x/y.json", "sha256": "ab"}, "model": {"weights": "hub", "repo": "a/b"}}

    assert hf.data_lines({"download": hub}) == [
        "instructions: `https://x/y.json`, SHA-256 `ab`",
        "base weights: `a/b`",
    ]
    assert hf.data_lines({"download": {"model": {"weights": "scratch", "seed": 1}}}) == ["base weights: random, seed 1"]
    assert hf.data_lines({}) == []


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder in which all stages have run."""
    folder = small_pipeline.make(tmp_path_factory.mktemp("project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
        for stage in ("download", "split", "tokenize", "finetune", "generate", "judge"):
            importlib.import_module(f"stages.{stage}.__main__").main()
    return folder


def run(project: Path, *arguments: object, environment: dict[str, str] | None = None):
    command = [sys.executable, "-m", "flows.export", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OLLAMA_HOST": "127.0.0.1:9"} | (environment or {})
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_a_folder_for_transformers_is_the_model_and_says_so(project, tmp_path):
    done = run(project, ".", tmp_path / "out", "--license", "apache-2.0")

    assert (done.returncode, "Both `max_new_tokens`" in done.stderr) == (0, False), done.stderr
    assert "hf           same: all 4 answers are the pipeline's, to the last token" in done.stdout
    (found,) = json.loads((tmp_path / "out" / "export.json").read_text())["exports"]
    assert (found["verdict"], found["rows"], found["differing"], found["score"]) == ("same", 4, [], None)
    made = {path.name: path.read_bytes() for path in (tmp_path / "out" / "hf").iterdir()}
    was = {path.name: path.read_bytes() for path in (project / TUNED_MODEL).iterdir()}
    card = made.pop("README.md").decode()
    del was["README.md"]
    assert made == was
    assert 'license: "apache-2.0"' in card
    assert "judge: built-in reference judge, fingerprint" in card
    again = run(project, ".", tmp_path / "out")
    assert again.returncode == 78
    assert "expected a new or an empty folder" in again.stderr


@pytest.mark.thorough
def test_a_tuned_model_is_tuned_further(project, tmp_path, monkeypatch):
    assert run(project, ".", tmp_path / "out").returncode == 0
    (found,) = json.loads((tmp_path / "out" / "export.json").read_text())["exports"]
    pins = {"sha256": found["sha256"]["hf/model.safetensors"], "config_sha256": found["sha256"]["hf/config.json"]}
    source = {"weights": "folder", "repo": str(tmp_path / "out" / "hf"), **pins}
    further = small_pipeline.make(tmp_path / "further", overlay={"download": {"model": source}})
    monkeypatch.chdir(further)
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")

    for stage in ("download", "split", "tokenize", "finetune"):
        importlib.import_module(f"stages.{stage}.__main__").main()

    before = json.loads((project / "artifacts/finetune/metrics.json").read_text())
    after = json.loads((further / "artifacts/finetune/metrics.json").read_text())
    assert after["val_loss_before"] == before["val_loss"]
    assert after["val_loss"] < before["val_loss"]


@pytest.mark.thorough
def test_other_answers_are_found_and_fail_the_export(project, tmp_path):
    other = shutil.copytree(project, tmp_path / "other")
    rows = [json.loads(line) for line in (other / RESPONSES).read_text().splitlines()]
    changed = next(row for row in rows if row["model"] == "tuned")
    changed["text"] = "Something else."
    (other / RESPONSES).write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = run(other, ".", tmp_path / "out")

    assert done.returncode == 65
    assert "1 of 1 export may not be called good: hf (differs)" in done.stderr
    assert f"{changed['id']}: expected 'Something else.', found ''" in done.stdout
    (found,) = json.loads((tmp_path / "out" / "export.json").read_text())["exports"]
    assert [row["id"] for row in found["differing"]] == [changed["id"]]
    assert found["score"]["rows"] > 0


@pytest.mark.thorough
def test_gguf_files_answer_as_the_model_does_and_ollama_is_not_believed_unasked(project, tmp_path):
    pytest.importorskip("gguf", reason="the extra export is not installed")
    pytest.importorskip("xllamacpp", reason="the extra export is not installed")

    done = run(project, ".", tmp_path / "out", "--to", "gguf,ollama", "--quantize", "q8_0,q4_k_m")

    assert done.returncode == 69, done.stderr
    assert "3 of 6 exports may not be called good" in done.stderr
    exports = {one["format"]: one for one in json.loads((tmp_path / "out" / "export.json").read_text())["exports"]}
    assert exports["gguf f32"]["verdict"] == "same"
    assert {exports[f"gguf {name}"]["verdict"] for name in ("q8_0", "q4_k_m")} <= {"same", "close"}
    assert {exports[f"ollama {name}"]["verdict"] for name in ("f32", "q8_0", "q4_k_m")} == {"not compared"}
    assert (tmp_path / "out" / "Modelfile-q8_0").read_text().startswith("FROM ./gguf/model-q8_0.gguf\n")
    assert not (tmp_path / "out" / "hf").exists()


@pytest.mark.thorough
def test_without_the_package_a_gguf_file_is_refused(project, tmp_path):
    if importlib.util.find_spec("gguf"):
        pytest.skip("the extra export is installed")

    done = run(project, ".", tmp_path / "out", "--to", "gguf")

    assert done.returncode == 78
    assert "the package gguf is not installed" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_a_mistake_in_the_command_is_told_before_anything_is_done(project, tmp_path):
    for arguments, what in (
        (["--to", "onnx"], "--to: expected any of hf, gguf, ollama, found 'onnx'"),
        (["--quantize", "q8_0"], "--quantize: it is for gguf and ollama"),
        (["--to", "gguf", "--push", "ann/tuned"], "--push: it is for hf, found --to gguf"),
        (["--public"], "--public, --replace: they are of --push"),
    ):
        done = run(project, ".", tmp_path / "out", *arguments)
        assert (done.returncode, what in done.stderr) == (78, True), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_drawn_answers_are_refused(project, tmp_path):
    other = shutil.copytree(project, tmp_path / "other")
    small_pipeline.write_params(other, {"generate": {"temperature": 0.7}})

    done = run(other, ".", tmp_path / "out")

    assert done.returncode == 78
    assert "generate.temperature: expected 0, found 0.7" in done.stderr


def push(project: Path, hub: HubOfRepositories, *arguments: object, token: str = WRITER):
    here = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "HF_HOME": str(project / "no-login")}
    return run(project, *arguments, "--push", "ann/tuned", environment=here)


def loaded_from(hub: HubOfRepositories, cache: Path) -> str:
    """What transformers makes of the repository, in a process of its own."""
    program = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained('ann/tuned')\n"
        "template = AutoTokenizer.from_pretrained('ann/tuned').chat_template\n"
        "print(type(model).__name__ + (', with a chat template' if template else ''))\n"
    )
    here = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": WRITER, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | here, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


@pytest.mark.thorough
def test_a_good_export_is_pushed_and_the_same_command_does_not_export_again(project, tmp_path):
    with fake_hub_repository.serving() as hub:
        hub.script("POST", "/commit/main", "503")

        failed = push(project, hub, ".", tmp_path / "out", "--license", "mit")
        assert (failed.returncode, "answered 503" in failed.stderr) == (69, True), failed.stderr
        again = push(project, hub, ".", tmp_path / "out", "--license", "mit")

        assert (again.returncode, "exported and compared before" in again.stdout) == (0, True), again.stderr
        repository = hub.repositories["ann/tuned"]
        made = {path.name: path.read_bytes() for path in (tmp_path / "out" / "hf").iterdir()}
        assert {name: data for name, data in repository.files.items() if name != ".gitattributes"} == made
        assert b'license: "mit"' in repository.files["README.md"]
        assert again.stdout.splitlines()[-1].startswith(f"pushed       {hub.endpoint}/ann/tuned (private): ")
        assert WRITER not in failed.stdout + failed.stderr + again.stdout + again.stderr
        assert loaded_from(hub, tmp_path) == "GPT2LMHeadModel, with a chat template"

        other = push(project, hub, ".", tmp_path / "out", "--license", "apache-2.0")
        assert (other.returncode, "--license apache-2.0, found mit" in other.stderr) == (78, True), other.stderr
        assert repository.files["README.md"] == made["README.md"]

        (tmp_path / "out" / "hf" / "README.md").write_text("edited")
        edited = push(project, hub, ".", tmp_path / "out")
        assert (edited.returncode, "hf/README.md: expected the file that was compared" in edited.stderr) == (65, True)


@pytest.mark.thorough
def test_what_may_not_be_called_good_is_not_pushed(project, tmp_path):
    other = shutil.copytree(project, tmp_path / "other")
    rows = [json.loads(line) | {"text": "Something else."} for line in (other / RESPONSES).read_text().splitlines()]
    (other / RESPONSES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with fake_hub_repository.serving() as hub:
        for _ in range(2):  # nor the second time
            assert push(other, hub, ".", tmp_path / "out").returncode == 65
        assert push(project, hub, ".", tmp_path / "out").returncode == 78  # another run's export
        assert hub.repositories == {}


@pytest.mark.thorough
def test_a_token_is_asked_for_before_anything_is_exported(project, tmp_path):
    with fake_hub_repository.serving() as hub:
        done = push(project, hub, ".", tmp_path / "out", token="")

    assert (done.returncode, "expected a token of the hub, found none" in done.stderr) == (78, True), done.stderr
    assert not (tmp_path / "out").exists()
