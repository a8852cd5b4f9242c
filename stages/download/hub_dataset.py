"""A dataset's file on the Hugging Face hub, at one commit: ``hf://datasets/OWNER/NAME@COMMIT/FILE``.

The file is read as any other (`stages.download.formats`). No code of the dataset is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
        file: path in the repository.
    """

    repo: str
    commit: str
    file: str

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


def fetch(source: str, target: Path, expected: str | None, *, fix: str) -> None:
    """Put a link to a file of the hub's cache at ``target``; the file is downloaded first if it is not there.

    Args:
        source: the file, as `parse` reads it.
        target: path of the link, where nothing is yet.
        expected: SHA-256 of the file; None: any, since the commit names what it holds.
        fix: what the user can do about a wrong SHA-256.

    Raises:
        ConfigError: there is no such file, or the hub may not be asked, or refuses access.
        DataError: the file has another SHA-256, or is empty, a web page or a Git LFS pointer.
        ServiceUnavailable: the hub does not answer.
    """
    wanted = parse(source)
    hub.load()
    path = _whole(wanted)
    refuse_other_contents(path, name=source, fix=f"correct {DATASET_KEY} in params.yaml")
    if expected is not None and (digest := sha256(path)) != expected:
        raise DataError(f"{source}: wrong SHA-256: expected {expected}, found {digest}", fix)
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
