"""params.yaml that is no mapping, or no text: the configuration is at fault, and the message says what it wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import ConfigError
from stages.params import whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the sections profile, download, split, tokenize, finetune, generate, judge; found nothing"),
        (b"- 1\n- 2\n", "expected the sections .*; found a list"),
        (b"\xff\xfe", "params.yaml"),
        (None, "params.yaml: no such file"),
        (b"a: [", "not valid YAML"),
    ],
    ids=["empty", "list", "not UTF-8", "missing", "not YAML"],
)
def test_what_is_no_configuration_is_a_configuration_error(tmp_path: Path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("params.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        whole.load()
