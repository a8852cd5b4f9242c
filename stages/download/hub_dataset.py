"""A dataset on the Hugging Face hub, at one commit: ``hf://datasets/OWNER/NAME@COMMIT/FILE``.

FILE may be a pattern such as ``data/train-*.parquet``, or a folder such as ``data/``: its files are read as one.

A file is read as any other (`stages.download.formats`). No code of the dataset is run.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from pathlib import Path

from stages.common.errors import ConfigError, DataError
from stages.common.files import sha256
from stages.download import hub
from stages.download.contents import refuse_other_contents
from stages.download.hub import DATASET_KEY

#: How such a source begins.
SCHEME = "hf://"

_FORM = re.compile(r"hf://datasets/(?P<repo>(?:[\w.-]+/)?[\w.-]+)@(?P<commit>[0-9a-f]{40})/(?P<file>[^/].*)", re.ASCII)
_WANTED = "hf://datasets/OWNER/NAME@COMMIT/FILE, with a commit of 40 digits from 0-9 and a-f"


@dataclass(frozen=True)
class HubFile:
    """A file of a dataset on the hub.

    Args:
        repo: owner and name.
        commit: the commit.
        file: path in the repository; of a folder it ends with a slash, and a pattern has ``*`` or ``?``.
    """

    repo: str
    commit: str
    file: str

    @property
    def several(self) -> bool:
        """Whether this is a folder or a pattern."""
        return self.file.endswith("/") or any(sign in self.file for sign in "*?[")

    @property
    def repository(self) -> hub.Repository:
        """The repository, seen through the hub's cache."""
        return hub.Repository(self.repo, self.commit, "dataset")

    def absent(self) -> ConfigError:
        """The error for a repository that has no such file."""
        page = f"https://huggingface.co/datasets/{self.repo}/tree/{self.commit}"
        return ConfigError(
            f"{self.repo} at {self.commit}: no {self.file}",
            f"correct {DATASET_KEY} in params.yaml: {page} lists the files",
        )


def is_on_hub(source: str) -> bool:
    """Whether a source names a file on the hub."""
    return source.lower().startswith(SCHEME)


def parse(source: str) -> HubFile:
    """The file that a source names.

    Raises:
        ConfigError: the source has another form; a branch is none, since what it names can change.
    """
    found = _FORM.fullmatch(source)
    if found is None or ".." in found["file"].split("/"):
        fix = f"set {DATASET_KEY} in params.yaml; the dataset's page on the hub lists its commits under History"
        raise ConfigError(f"{DATASET_KEY}: expected {_WANTED}; found {source!r}", fix)
    return HubFile(found["repo"], found["commit"], found["file"])


def fetch(source: str, target: Path, expected: str | None, *, fix: str) -> Path | list[tuple[str, Path]]:
    """Put a link to a file of the hub's cache at ``target``; the file is downloaded first if it is not there.

    Of a folder or a pattern, each file has a link of its own, whose name begins like ``target``.

    Args:
        source: the file, as `parse` reads it.
        target: path of the link, where nothing is yet.
        expected: SHA-256 of the file; None: any, since the commit names what it holds.
        fix: what the user can do about a wrong SHA-256.

    Raises:
        ConfigError: there is no such file, or the hub may not be asked, or refuses access.
        DataError: the file has another SHA-256, or is empty, a web page or a Git LFS pointer.
        ServiceUnavailable: the hub does not answer.

    Returns:
        The path of the link; of several files the name and the path of each.
    """
    wanted = parse(source)
    hub.load()
    if not wanted.several:
        _link(wanted, target, expected, name=source, fix=fix)
        return target
    if expected is not None:
        key = DATASET_KEY.removesuffix("source") + "sha256"
        raise ConfigError(
            f"{key}: expected none for several files, which the commit names; found {expected}", f"set {key}: null"
        )
    found = []
    for number, file in enumerate(names_of(wanted)):
        path = target.with_name(f"{target.name}-{number}")
        _link(replace(wanted, file=file), path, None, name=file, fix=fix)
        found.append((file, path))
    return found


def names_of(wanted: HubFile) -> list[str]:
    """The files of a folder or a pattern, in the order of the alphabet.

    Raises:
        ConfigError: there is no such file, or the hub may not be asked, or refuses access.
        ServiceUnavailable: the hub does not answer.
    """
    pattern = f"{wanted.file}*" if wanted.file.endswith("/") else wanted.file
    parts = pattern.split("/")
    found = [
        name
        for name in wanted.repository.names()
        if len(own := name.split("/")) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))
    ]
    if not found:
        raise wanted.absent()
    return sorted(found)


def _link(wanted: HubFile, target: Path, expected: str | None, *, name: str, fix: str) -> None:
    path = _whole(wanted)
    refuse_other_contents(path, name=name, fix=f"correct {DATASET_KEY} in params.yaml")
    if expected is not None and (digest := sha256(path)) != expected:
        raise DataError(f"{name}: wrong SHA-256: expected {expected}, found {digest}", fix)
    target.symlink_to(path.resolve())


def _whole(wanted: HubFile) -> Path:
    """The path of a file in the hub's cache. One that does not agree with its name there is downloaded again, once."""
    repository = wanted.repository
    for _ in range(2):
        path = repository.find(wanted.file)
        if path is None:
            raise wanted.absent()
        if not repository.renew([path]):
            return path
    what = f"{wanted.file} of {repository.name}: damaged on the way, twice"
    raise DataError(what, "check the network and run the same command again")
