"""DVC's configuration, as DVC itself reads it from the same files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from dvc.config import Config

from stages.common import dvc_config
from stages.common.dvc_config import Remotes
from stages.common.errors import ConfigError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of DVC without configuration, and the folders of the user's and the machine's."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{name}_CONFIG_DIR", str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    (tmp_path / "project" / ".dvc").mkdir(parents=True)
    return tmp_path / "project"


def of_dvc(project: Path) -> dict[str, object]:
    """DVC's own reading, without the sections that it adds."""
    found = Config(str(project / ".dvc"), validate=False).load_config_to_level()
    named = {f'remote "{name}"': dict(options) for name, options in found.pop("remote").items()}
    return {name: values for name, values in (found | named).items() if values}


def test_each_file_counts_before_the_next_and_a_path_starts_at_its_folder(project: Path) -> None:
    (project / ".dvc" / "config.local").write_text("['remote \"Store\"']\n    password = 'a, # b'\n")
    (project / ".dvc" / "config").write_text(
        '[core]\n    Remote = STORE  # of the team\n[\'remote "store"\']\n    url = "../../store"\n    password = c\n'
    )
    (project.parent / "global" / "config").write_text(
        "[core]\n    remote = mine\n[cache]\n    dir = ~/kept\n    type = reflink, copy\n"
        "['remote \"mine\"']\n    url = mine\n['remote \"cloud\"']\n    url = s3://bucket/x\n    keyfile = key\n"
    )
    (project.parent / "system" / "config").write_text("[cache]\n    dir = /else\n    shared = group\n")

    found = dvc_config.read(project)

    assert found.remotes == Remotes(
        {
            "store": {"url": str(project.parent / "store"), "password": "a, # b"},
            "mine": {"url": str(project.parent / "global" / "mine")},
            "cloud": {"url": "s3://bucket/x", "keyfile": str(project.parent / "global" / "key")},
        },
        "store",
    )
    cache = [found.value("cache", name) for name in ("dir", "type", "shared", "none")]
    assert cache == [str(Path.home() / "kept"), "reflink,copy", "group", ""]
    assert list(dvc_config.read_own(project).remotes.named) == ["store"]
    asked = of_dvc(project)
    assert asked.pop("core") == {"remote": "STORE"}, "DVC makes it small when it looks for the remote"
    assert asked == {name: values for name, values in found.sections.items() if name != "core"}


def test_without_files_nothing_is_set(project: Path) -> None:
    assert dvc_config.read(project).sections == {}
    assert dvc_config.read(project / "no such folder").remotes == Remotes({}, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[core\n", "Invalid line ('[core') (matched as neither section nor keyword) at line 1."),
        ("[core]\na = 1\na = 2\n", "Duplicate keyword name at line 3."),
        ("remote = store\n", "'remote' is in no section"),
        (b"[core]\nremote = \xff\n", "it is not in UTF-8"),
        (None, "Is a directory"),
    ],
)
def test_a_file_that_dvc_cannot_read_is_named(project: Path, text: str | bytes | None, reason: str) -> None:
    file = project / ".dvc" / "config.local"
    if text is None:
        file.mkdir()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        dvc_config.read(project)
    assert str(caught.value).splitlines() == [
        f"{file}: DVC cannot read its configuration: {reason}",
        "  to fix it: correct it; then dvc config --list shows what DVC reads",
    ]


def test_what_is_written_is_what_dvc_reads_and_nobody_else_may_read_it(project: Path) -> None:
    sections = {
        "core": {"remote": "store"},
        "cache": {"type": ["reflink", "copy"], "dir": "/a folder/of é"},
        'remote "store"': {"url": "/x, # y", "password": "it's", "user": "50%"},
    }
    file = project / ".dvc" / "config"
    dvc_config.write(file, dvc_config.Settings(sections))
    assert of_dvc(project) == sections
    assert dvc_config.read(project).sections == sections
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_remotes_over_others_hide_those_of_their_names() -> None:
    mine = Remotes({"store": {"url": "/mine"}}, "")
    theirs = Remotes({"store": {"url": "s3://x", "region": "eu"}, "other": {"url": "/other"}}, "store")
    assert mine.over(theirs) == Remotes({"store": {"url": "/mine"}, "other": {"url": "/other"}}, "store")
    assert theirs.over(mine) == theirs
