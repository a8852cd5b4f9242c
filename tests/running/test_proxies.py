"""What NO_PROXY may hold, and which proxy an address is asked through."""

from __future__ import annotations

import json
import os

import httpx
import pytest

from flows import prefect_server
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.running import proxies

LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv(proxies.SET_ASIDE, raising=False)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("", LOOPBACK),
        ("*", "*"),
        ("example.org, .corp", f"example.org,.corp,{LOOPBACK}"),
        ("example.org 10.0.0.1", f"example.org,10.0.0.1,{LOOPBACK}"),
        ("10.0.0.0/8", f"10.0.0.0/8,{LOOPBACK}"),
        ("fe80::/10,host:8080", f"host:8080,{LOOPBACK}"),
        ("[::1],[fd00::2]:80,[fd00::]/8", "::1,fd00::2,localhost,127.0.0.1"),
        ("bücher.de", f"xn--bcher-kva.de,{LOOPBACK}"),
    ],
)
@pytest.mark.parametrize("spelling", ["NO_PROXY", "no_proxy"])
def test_no_proxy_becomes_what_every_library_reads(
    monkeypatch: pytest.MonkeyPatch, spelling: str, given: str, becomes: str
) -> None:
    monkeypatch.setenv(spelling, given)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    proxies.spare_loopback()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == becomes
    httpx.Client().close()  # in which Prefect asks its server


@pytest.mark.parametrize("given", ["10.0.0.0/8", "fd00::/8", "[fd00::]/8"])
def test_a_range_spares_the_servers_in_it(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("NO_PROXY", given)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    inside, host = ("http://10.1.2.3:5000", "10.1.2.3") if "10" in given else ("http://[fd00::5]:5000", "fd00::5")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", inside)
    proxies.spare_loopback()
    assert os.environ["NO_PROXY"].split(",")[-1] == host
    assert proxies.proxy_for(inside) is None
    assert str(proxies.proxy_for("http://11.1.2.3/")) == "through the proxy http://proxy.invalid:3128 of HTTP_PROXY"


@pytest.mark.parametrize("loopback", ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_loopback_is_behind_no_proxy(monkeypatch: pytest.MonkeyPatch, variable: str, loopback: str) -> None:
    monkeypatch.setenv(variable, "socks5://proxy.invalid:1080")
    assert proxies.proxy_for(loopback) is None
    assert proxies.mapping(loopback) == {}


def test_a_socks_proxy_that_was_set_aside_is_still_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proxies.SET_ASIDE, json.dumps({"ALL_PROXY": "socks5://me:secret@proxy.invalid:1080"}))
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.invalid/api")
    with pytest.raises(ConfigError) as raised:
        prefect_server.check()
    assert str(raised.value) == (
        "PREFECT_API_URL=http://prefect.invalid/api: ALL_PROXY names a SOCKS proxy (socks5://proxy.invalid:1080), "
        "which needs the package socksio\n  to fix it: unset ALL_PROXY, name an http proxy, or: pip install socksio"
    )
    assert "ALL_PROXY" not in os.environ


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_dead_proxy_before_prefects_server_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.invalid/api")
    with pytest.raises(ServiceUnavailable) as raised:
        prefect_server.check()
    assert f"(through the proxy http://127.0.0.1:9 of {variable}) does not answer" in raised.value.what
    assert str(raised.value.fix).endswith(f"; or correct or unset {variable}, or add prefect.invalid to NO_PROXY")
