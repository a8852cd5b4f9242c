"""fetch against a loopback server that fails on purpose."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.common.errors import ConfigError, DataError, ServiceUnavailable
from stages.download.fetch import fetch
from tests.fake_hub import FakeHub, serving

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "download.data.source"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name.upper(), "")  # so that what the code sets is undone


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FakeHub]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "rows.json").write_bytes(CONTENT)
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "rows.json"
    path.parent.mkdir()
    path.write_text("as it was")
    return path


def get(source: str, target: Path, sha256: str | None = SHA256, retries: int = 2) -> None:
    fetch(source, target, sha256, key=KEY, fix="the fix", waits=(0.0,) * retries)


def assert_untouched(target: Path) -> None:
    assert target.read_text() == "as it was"
    assert list(target.parent.iterdir()) == [target]


def test_url(web: FakeHub, target: Path) -> None:
    get(web.url("rows.json"), target)
    assert target.read_bytes() == CONTENT


def test_a_password_of_netrc_does_not_go_unencrypted_to_another_machine(
    web: FakeHub, tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other machine is reached by a proxy, which is the fake itself."""
    (tmp_path / "netrc").write_text("machine host.invalid login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", web.endpoint)
    with pytest.raises(ConfigError, match=r"would go unencrypted to host\.invalid") as raised:
        get("http://host.invalid/rows.json", target)
    assert "secret" not in str(raised.value)
    assert_untouched(target)
    assert web.requests == []

    monkeypatch.setenv("PIPELINE_KEY_OVER_HTTP", "1")
    with pytest.raises(ConfigError, match=r"host\.invalid/rows\.json: answered"):
        get("http://host.invalid/rows.json", target)
    assert web.requests != []


def test_path(tmp_path: Path, target: Path) -> None:
    (tmp_path / "there").write_bytes(CONTENT)
    get(str(tmp_path / "there"), target)
    assert target.read_bytes() == CONTENT
    (tmp_path / "there").write_bytes(b"a")
    get(str(tmp_path / "there"), target, sha256=None)
    assert target.read_bytes() == b"a"


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut"])
def test_a_fault_that_passes_is_retried(web: FakeHub, target: Path, fault: str) -> None:
    web.script("GET", "rows.json", fault, fault)
    get(web.url("rows.json"), target)
    assert target.read_bytes() == CONTENT
    assert len(web.requests) == 3


@pytest.mark.parametrize(("fault", "said"), [("500", "answered 500"), ("cut", "IncompleteRead")])
def test_a_fault_that_stays(web: FakeHub, target: Path, fault: str, said: str) -> None:
    web.script("GET", "rows.json", *[fault] * 3)
    with pytest.raises(ServiceUnavailable) as raised:
        get(web.url("rows.json"), target)
    assert web.url("rows.json") in raised.value.what
    assert said in raised.value.what
    assert "3 attempts" in raised.value.what
    assert "local copy" in str(raised.value.fix)
    assert_untouched(target)


def test_no_server(target: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: the port refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/rows.json"
        with pytest.raises(ServiceUnavailable, match=f"{re.escape(url)}: .*refused.*3 attempts"):
            get(url, target)
    assert_untouched(target)


def test_no_such_host(target: Path, network_attempts: list[str]) -> None:
    with pytest.raises(ServiceUnavailable, match=r"http://host\.invalid/rows\.json: .*Name or service not known"):
        get("http://host.invalid/rows.json", target, retries=0)
    network_attempts.clear()


@pytest.mark.parametrize("fault", ["404", "401", "403"])
def test_a_page_that_is_not_there_is_asked_for_once(web: FakeHub, target: Path, fault: str) -> None:
    web.script("GET", "rows.json", fault)
    with pytest.raises(ConfigError, match=f"rows.json: answered {fault}") as raised:
        get(web.url("rows.json"), target)
    assert KEY in str(raised.value.fix)
    assert len(web.requests) == 1
    assert_untouched(target)


def test_redirects_without_end(web: FakeHub, target: Path) -> None:
    web.script("GET", "rows.json", *["redirect"] * 40)
    with pytest.raises(ConfigError, match="too many redirects"):
        get(web.url("rows.json"), target)
    assert_untouched(target)


def test_one_redirect_is_followed(web: FakeHub, target: Path) -> None:
    web.script("GET", "rows.json", "redirect")
    get(web.url("rows.json"), target)
    assert target.read_bytes() == CONTENT


def test_wrong_bytes(web: FakeHub, target: Path) -> None:
    web.script("GET", "rows.json", "wrong bytes")
    zeros = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    with pytest.raises(DataError) as raised:
        get(web.url("rows.json"), target)
    assert raised.value.what == (
        f"{web.url('rows.json')}: wrong SHA-256: expected {SHA256}, found {zeros} (10,240 bytes)"
    )
    assert raised.value.fix == "the fix"
    assert len(web.requests) == 1
    assert_untouched(target)


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["drip", "drip headers"])
def test_a_server_that_drips_is_left(
    web: FakeHub, target: Path, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPELINE_STALL_SECONDS", "1")
    web.script("GET", "rows.json", fault)
    get(web.url("rows.json"), target)
    assert target.read_bytes() == CONTENT
    told = capsys.readouterr().out.removeprefix(web.url("rows.json"))
    assert re.fullmatch(r": sent \d bytes in 1 s; expected at least 1,000 a second; asking again\n", told)

    web.script("GET", "rows.json", fault, fault)
    target.write_text("as it was")
    with pytest.raises(ServiceUnavailable, match=r"expected at least 1,000 a second \(2 attempts\)"):
        get(web.url("rows.json"), target, retries=1)
    assert_untouched(target)


OTHER_CONTENTS = {
    "empty": (b"", "an empty file"),
    "page": (b"\n<!DOCTYPE html>\n<html><body>log in", "an HTML page, such as a login or a preview"),
    "page without a type": (b"\xef\xbb\xbf<HTML lang=en>", "an HTML page, such as a login or a preview"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n",
        "a Git LFS pointer, which names the file",
    ),
}


@pytest.mark.parametrize("content", OTHER_CONTENTS)
def test_what_is_no_data_is_named_and_never_pinned(web: FakeHub, target: Path, content: str) -> None:
    data, said = OTHER_CONTENTS[content]
    (web.folder / "rows.json").write_bytes(data)
    for sha256 in (SHA256, None, hashlib.sha256(data).hexdigest()):
        for source in (web.url("rows.json"), str(web.folder / "rows.json")):
            with pytest.raises(DataError) as raised:
                get(source, target, sha256)
            assert raised.value.what == f"{source}: expected data, found {said}"
            assert str(raised.value.fix).endswith("; or correct download.data.source in params.yaml")
    assert_untouched(target)


def test_a_socks_proxy_is_named(web: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@127.0.0.1:1")
    get(web.url("rows.json"), target)  # loopback is behind no proxy
    with pytest.raises(ConfigError) as raised:
        get("http://host.invalid/rows.json", target)
    assert raised.value.what == (
        "http://host.invalid/rows.json: ALL_PROXY names a SOCKS proxy (socks5://127.0.0.1:1), "
        "which needs the package PySocks"
    )
    assert raised.value.fix == "unset ALL_PROXY, name an http proxy, or: pip install PySocks"


def test_a_proxy_that_refuses_is_named(web: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.endpoint)
    web.script("GET", "rows.json", "403")
    with pytest.raises(ConfigError) as raised:
        get("http://host.invalid/rows.json", target)
    assert raised.value.what == (
        f"http://host.invalid/rows.json: answered 403 Forbidden (through the proxy {web.endpoint} of HTTP_PROXY)"
    )
    assert raised.value.fix == (
        f"correct {KEY} in params.yaml; or correct or unset HTTP_PROXY, or add host.invalid to NO_PROXY"
    )


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:1", "http://"])
def test_a_proxy_that_is_none_is_named(target: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(ConfigError, match="HTTP_PROXY names no proxy that can be used") as raised:
        get("http://host.invalid/rows.json", target)
    assert raised.value.fix == "correct or unset HTTP_PROXY, or add host.invalid to NO_PROXY"


def test_a_dead_proxy_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", address)
        with pytest.raises(ServiceUnavailable, match=f"through the proxy {address} of http_proxy") as raised:
            get("http://host.invalid/rows.json", target, retries=0)
    assert "correct or unset http_proxy, or add host.invalid to NO_PROXY" in str(raised.value.fix)


def test_paths_that_are_no_files(tmp_path: Path, target: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json: no such file"):
        get(str(tmp_path / "nowhere.json"), target)
    with pytest.raises(ConfigError, match="expected a file, found a folder"):
        get(str(tmp_path), target)
    assert_untouched(target)


@pytest.mark.parametrize("source", ["ftp://host/rows.json", "file:///rows.json", "s3://bucket/rows.json"])
def test_other_kinds_of_url(source: str, target: Path) -> None:
    with pytest.raises(ConfigError, match=f"{KEY}: expected a path or an http"):
        get(source, target)


@pytest.mark.parametrize("source", ["http://", "http://[::1/rows.json", "https://:80", "http://a..b/x"])
def test_urls_that_are_none(source: str, target: Path) -> None:
    with pytest.raises(ConfigError, match="not a valid URL"):
        get(source, target)
