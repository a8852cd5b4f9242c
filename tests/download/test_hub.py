"""Published weights from a loopback server with the hub's URL layout, through huggingface_hub itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from safetensors.torch import load_file, save_file

from stages.common.errors import ConfigError
from stages.download import model_files
from stages.params.download import ModelSource
from tests.fake_hub import FakeHub, serving
from tests.root import ROOT

REPO = "openai-community/gpt2"
REVISION = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"

#: The architecture part of openai-community/gpt2's config.json, which leaves out what has its default value.
CONFIG = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
#: huggingface_hub writes, and resumes, in chunks of 10 MiB; half of this is more than one.
WEIGHTS = b"weights\n" * (3 << 20)

#: huggingface_hub reads its environment when it is imported. So downloads run in a process with an environment of
#: its own, which answers each line (a download.model section and a folder) with an exit code and a message.
WORKER = """
import json, sys
from pathlib import Path
from stages.common.errors import PipelineError
from stages.params.download import ModelSource
from stages.download import hub
for line in sys.stdin:
    section, folder = json.loads(line)
    try:
        hub.fetch_model(ModelSource.model_validate(section), Path(folder))
        answer = [0, ""]
    except PipelineError as error:
        answer = [error.exit_code, str(error)]
    print(json.dumps(answer), flush=True)
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(**changes: Any) -> dict[str, Any]:
    return {
        "weights": "hub",
        **{name: CONFIG[name] for name in ("n_layer", "n_head", "n_embd", "n_positions")},
        "seed": 1,
        "repo": REPO,
        "revision": REVISION,
        "sha256": sha256(WEIGHTS),
        "config_sha256": sha256(json.dumps(CONFIG).encode()),
    } | changes


class Downloader:
    """A process that downloads, with huggingface_hub's cache in ``cache``."""

    def __init__(self, endpoint: str, cache: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        self.cache = cache
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fetch(self, folder: Path, **changes: Any) -> tuple[int, str]:
        """The exit code and the message of one download."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([source(**changes), str(folder)]) + "\n")
        self.process.stdin.flush()
        code, message = json.loads(self.process.stdout.readline())
        return code, message

    def __enter__(self) -> Downloader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    with serving(folder, REPO, REVISION) as server:
        yield server


@pytest.fixture(scope="module")
def process(hub_server: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Downloader]:
    with Downloader(hub_server.endpoint, tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture
def fake(hub_server: FakeHub) -> FakeHub:
    hub_server.requests.clear()
    return hub_server


@pytest.fixture
def downloader(process: Downloader) -> Downloader:
    """The process, with nothing in huggingface_hub's cache."""
    shutil.rmtree(process.cache)
    process.cache.mkdir()
    return process


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path


def test_download_link_and_cache(fake: FakeHub, downloader: Downloader, out: Path) -> None:
    assert downloader.fetch(out) == (0, "")
    assert (out / "model.safetensors").read_bytes() == WEIGHTS
    assert json.loads((out / "config.json").read_text()) == CONFIG
    assert (out / "model.safetensors").stat().st_nlink == 2, "one copy on disk, shared with the hub's cache"
    assert [method for method, _, _ in fake.requests] == ["HEAD", "GET", "HEAD", "GET"], "no telemetry, no API call"

    (out / "again").mkdir()
    with Downloader("http://127.0.0.1:9", downloader.cache, HF_HUB_OFFLINE="1") as offline:
        assert offline.fetch(out / "again") == (0, "")
        assert (out / "again/model.safetensors").read_bytes() == WEIGHTS
        code, told = offline.fetch(out / "none", revision="b" * 40)
        assert code == 78
        assert "HF_HUB_OFFLINE forbids" in told


def test_the_token_does_not_go_unencrypted_to_another_machine(fake: FakeHub, out: Path) -> None:
    """The other machine is reached by a proxy, which is the fake itself."""
    here = {"HF_TOKEN": "hf_secret", "HTTP_PROXY": fake.endpoint, "http_proxy": fake.endpoint}
    with Downloader("http://me:hidden@hub.invalid", out / "cache", **here) as open_line:
        code, told = open_line.fetch(out)
    assert code == 78
    assert told.startswith("HF_ENDPOINT: the Hugging Face token would go unencrypted to hub.invalid: expected https://")
    assert "export PIPELINE_KEY_OVER_HTTP=1" in told
    assert "hf_secret" not in told
    assert fake.requests == []

    with Downloader("http://hub.invalid", out / "cache", PIPELINE_KEY_OVER_HTTP="1", **here) as allowed:
        assert "unencrypted" not in allowed.fetch(out)[1]
    assert fake.requests != []


def test_a_cut_connection_is_resumed_where_it_broke_off(fake: FakeHub, downloader: Downloader, out: Path) -> None:
    fake.script("HEAD", "config.json", "500")
    fake.script("GET", "model.safetensors", "cut")
    assert downloader.fetch(out) == (0, "")
    assert (out / "model.safetensors").read_bytes() == WEIGHTS
    assert fake.requests[-1] == ("GET", "model.safetensors", f"bytes={10 << 20}-")


@pytest.mark.parametrize(
    ("method", "file", "fault", "code", "said", "fix"),
    [
        ("HEAD", "config.json", "no repository", 78, "answered 404 Not Found", "download.model.repo and"),
        ("HEAD", "config.json", "no revision", 78, "answered 404 Not Found", "download.model.revision"),
        ("HEAD", "config.json", "404", 78, "answered 404 Not Found", "download.model.repo and"),
        ("HEAD", "config.json", "401", 78, "answered 401 Unauthorized", "HF_TOKEN"),
        ("HEAD", "config.json", "403", 78, "answered 403 Forbidden", "HF_TOKEN"),
        ("GET", "model.safetensors", "503", 69, "answered 503 Service Unavailable", "HF_ENDPOINT"),
    ],
)
def test_faults(
    fake: FakeHub,
    downloader: Downloader,
    out: Path,
    method: str,
    file: str,
    fault: str,
    code: int,
    said: str,
    fix: str,
) -> None:
    fake.script(method, file, fault)
    found, told = downloader.fetch(out)
    assert found == code
    assert f"{fake.url(file)}: {said}" in told
    assert fix in told.split("to fix it: ")[1]
    assert not list(out.iterdir())


def test_bytes_that_were_damaged_on_the_way_are_fetched_once_more(
    fake: FakeHub, downloader: Downloader, out: Path
) -> None:
    fake.script("GET", "model.safetensors", "wrong bytes")
    fake.script("GET", "config.json", "wrong bytes")
    assert downloader.fetch(out) == (0, "")
    assert (out / "model.safetensors").read_bytes() == WEIGHTS
    assert [file for method, file, _ in fake.requests if method == "GET"] == [
        *("config.json", "config.json", "model.safetensors", "model.safetensors")
    ]


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_blob_that_was_damaged_on_disk_is_fetched_once_more(
    fake: FakeHub, downloader: Downloader, out: Path, file: str
) -> None:
    for name in ("first", "second"):
        (out / name).mkdir()
    assert downloader.fetch(out / "first") == (0, "")
    [cached] = (downloader.cache / "hub").glob(f"models--*/snapshots/{REVISION}/{file}")
    cached.resolve().unlink()
    cached.resolve().write_bytes(b"x" * len(WEIGHTS))
    fake.requests.clear()

    with Downloader("http://127.0.0.1:9", downloader.cache, HF_HUB_OFFLINE="1") as offline:
        code, told = offline.fetch(out / "second")
    assert (code, "HF_HUB_OFFLINE" in told.split("to fix it: ")[1]) == (65, True)
    assert cached.resolve().is_file(), "without the hub nothing is removed"

    assert downloader.fetch(out / "second") == (0, "")
    assert (out / "second/model.safetensors").read_bytes() == WEIGHTS
    assert [asked for method, asked, _ in fake.requests if method == "GET"] == [file]


def test_bytes_that_are_damaged_twice(fake: FakeHub, downloader: Downloader, out: Path) -> None:
    fake.script("GET", "model.safetensors", "wrong bytes", "wrong bytes")
    code, told = downloader.fetch(out)
    assert code == 65
    assert told.endswith("to fix it: run the same command again: the files were damaged on the way, twice")
    assert f"model.safetensors of {REPO} at {REVISION}: wrong SHA-256: expected {sha256(WEIGHTS)}, found " in told
    assert not list(out.iterdir())
    assert downloader.fetch(out) == (0, ""), "the next night does not find the damaged file"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_hub_that_drips_is_left_and_asked_again_later(
    fake: FakeHub, downloader: Downloader, out: Path, method: str
) -> None:
    fake.script(method, "model.safetensors", "drip" if method == "GET" else "drip headers")
    with Downloader(fake.endpoint, downloader.cache, PIPELINE_STALL_SECONDS="1") as impatient:
        code, told = impatient.fetch(out)
        assert code == 69
        assert f"{fake.url('model.safetensors')}: sent " in told
        assert " bytes in 1 s; expected at least 1,000 a second\n" in told
        assert "PIPELINE_STALL_SECONDS" in told
        assert impatient.fetch(out) == (0, "")


def test_a_socks_proxy_is_named(fake: FakeHub, out: Path) -> None:
    proxy = {"ALL_PROXY": "socks5://127.0.0.1:1", "NO_PROXY": ""}
    with Downloader(fake.endpoint, out / "cache", **proxy) as loopback:
        assert loopback.fetch(out) == (0, "")
    with Downloader("http://host.invalid", out / "cache", **proxy) as running:
        code, told = running.fetch(out, revision="b" * 40)
    assert code == 78
    assert told == (
        f"http://host.invalid/{REPO}/resolve/{'b' * 40}/config.json: ALL_PROXY names a SOCKS proxy "
        "(socks5://127.0.0.1:1), which needs the package socksio\n"
        "  to fix it: unset ALL_PROXY, name an http proxy, or: pip install socksio"
    )


def test_a_proxy_that_refuses_is_named(fake: FakeHub, out: Path) -> None:
    fake.script("HEAD", "config.json", "403")
    with Downloader("http://host.invalid", out / "cache", HTTP_PROXY=fake.endpoint, NO_PROXY="") as running:
        code, told = running.fetch(out)
    assert code == 78
    assert f"config.json (through the proxy {fake.endpoint} of HTTP_PROXY): answered 403 Forbidden\n" in told
    assert "correct or unset HTTP_PROXY, or add host.invalid to NO_PROXY" in told


@pytest.fixture
def other(tmp_path: Path) -> Iterator[FakeHub]:
    """A hub whose repository has config.json and nothing else yet."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "config.json").write_text(json.dumps(CONFIG))
    with serving(served, REPO, REVISION) as server:
        yield server


def test_weights_in_other_formats_are_named(other: FakeHub, out: Path) -> None:
    with Downloader(other.endpoint, out / "cache") as running:
        code, told = running.fetch(out)
        assert code == 78
        assert told.startswith(
            f"{REPO} at {REVISION}: no model.safetensors and no model.safetensors.index.json\n"
            "  to fix it: set download.model.repo (and download.model.revision) in params.yaml to one that has "
            "safetensors"
        )
        for name in ("pytorch_model.bin", "tf_model.h5"):
            (other.folder / name).write_bytes(b"weights")
        code, told = running.fetch(out)
    assert code == 78
    assert "index.json; it has pytorch_model.bin, tf_model.h5, which is not read\n" in told
    assert told.endswith("or convert these with transformers: save_pretrained(FOLDER)")
    assert {file for method, file, _ in other.requests if method == "GET"} == {"config.json"}


def test_shards_from_the_hub(other: FakeHub, out: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    tensors = {"a": torch.arange(3.0), "b": torch.arange(4.0)}
    for name, (key, tensor) in zip(names, tensors.items(), strict=True):
        save_file({key: tensor}, other.folder / name)
    index = {"weight_map": dict(zip(tensors, names, strict=True))}
    (other.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    printed = subprocess.run(
        "sha256sum model-*-of-*.safetensors | sha256sum", shell=True, cwd=other.folder, capture_output=True
    )
    pinned = printed.stdout.decode().split()[0]
    for name in ("first", "second", "third"):
        (out / name).mkdir()
    other.script("GET", names[1], "wrong bytes")
    with Downloader(other.endpoint, out / "cache") as running:
        assert running.fetch(out / "first", sha256=pinned) == (0, "")
    asked = [file for method, file, _ in other.requests if method == "GET"]
    assert asked == ["config.json", "model.safetensors.index.json", *names, names[1]], "only the damaged one again"
    assert {key: value.tolist() for key, value in load_file(out / "first/model.safetensors").items()} == {
        "a": [0.0, 1.0, 2.0],
        "b": [0.0, 1.0, 2.0, 3.0],
    }
    [cached] = (out / "cache").rglob("model.safetensors.index.json")
    cached.resolve().write_text("{")
    with Downloader(other.endpoint, out / "cache") as running:
        assert running.fetch(out / "third", sha256=pinned) == (0, "")
    with Downloader("http://127.0.0.1:9", out / "cache", HF_HUB_OFFLINE="1") as offline:
        assert offline.fetch(out / "second", sha256=pinned) == (0, "")
        code, told = offline.fetch(out, sha256="0" * 64)
    assert code == 65
    assert f"the 2 shards of {REPO} at {REVISION}: wrong SHA-256: expected {'0' * 64}, found {pinned}\n" in told


def test_wrong_pins(fake: FakeHub, downloader: Downloader, out: Path) -> None:
    code, told = downloader.fetch(out, sha256="0" * 64)
    assert code == 65
    wrong = f"wrong SHA-256: expected {'0' * 64}, found {sha256(WEIGHTS)}"
    assert f"model.safetensors of {REPO} at {REVISION}: {wrong}" in told
    assert "download.model.sha256" in told
    assert [file for method, file, _ in fake.requests if method == "GET"] == ["config.json", "model.safetensors"]
    code, told = downloader.fetch(out, config_sha256="0" * 64)
    assert code == 65
    assert "download.model.config_sha256" in told
    code, told = downloader.fetch(out, repo="no//repo")
    assert code == 78
    assert "download.model.repo" in told
    assert not list(out.iterdir())


def test_config_is_checked_before_the_weights_are_downloaded(fake: FakeHub, downloader: Downloader, out: Path) -> None:
    code, told = downloader.fetch(out, n_layer=24)
    assert code == 78
    assert "n_layer: expected 24 (download.model.n_layer in params.yaml), found 12" in told
    assert {file for _, file, _ in fake.requests} == {"config.json"}


@pytest.mark.slow  # huggingface_hub waits 23 s in all before it gives up
def test_no_hub(out: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Downloader(endpoint, out / "cache") as running:
            code, told = running.fetch(out)
    assert code == 69
    assert f"{endpoint}/{REPO}/resolve/{REVISION}/config.json: " in told
    assert "Connection refused" in told


def checked(**changes: Any) -> None:
    model_files.check_config({**CONFIG, **changes}, ModelSource.model_validate(source()))


def test_a_config_as_published_is_accepted() -> None:
    checked()
    checked(tie_word_embeddings=True, n_inner=None, scale_attn_weights=True, resid_pdrop=0.1)
    checked(n_inner=3072)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_layer", 24),
        ("n_head", 16),
        ("n_embd", None),
        ("n_positions", "1024"),
        ("vocab_size", 50258),
        ("activation_function", "gelu"),
        ("model_type", "llama"),
        ("layer_norm_epsilon", 1e-6),
        ("tie_word_embeddings", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("n_inner", 1024),
    ],
)
def test_another_architecture_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"of another model:\n  - {key}: expected .*") as raised:
        checked(**{key: value})
    assert raised.value.what.endswith(f", found {value!r}")
    assert raised.value.what.count("\n") == 1
    assert raised.value.fix


def test_every_difference_is_listed() -> None:
    with pytest.raises(ConfigError) as raised:
        model_files.check_config({}, ModelSource.model_validate(source()))
    assert [line.split(":")[0].strip(" -") for line in raised.value.what.splitlines()[1:]] == [
        *("n_layer", "n_head", "n_embd", "n_positions", "model_type", "vocab_size")
    ]
    with pytest.raises(ConfigError, match="expected a JSON object, found list"):
        model_files.check_config([], ModelSource.model_validate(source()))


def test_the_fake_hub_as_a_program(hub_server: FakeHub) -> None:
    arguments = ["--folder", str(hub_server.folder), "--repo", REPO, "--revision", REVISION]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_hub", *arguments, "--fault", "HEAD", "config.json", "401"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        url = f"{server.stdout.readline().strip()}/{REPO}/resolve/{REVISION}/config.json"
        assert requests.head(url, timeout=300).status_code == 401
        assert requests.get(url, timeout=300).json() == CONFIG
        part = requests.get(url, timeout=300, headers={"Range": "bytes=5-"})
        assert (part.status_code, part.text) == (206, json.dumps(CONFIG)[5:])
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=300) == 0
        server.stdout.close()
