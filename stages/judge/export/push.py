"""Pushes an exported folder to the Hugging Face hub, once it has been compared and found good.

The repository then holds the files that were compared, and no others: their digests are asked of the hub afterwards.
"""

from __future__ import annotations

from pathlib import Path

from stages.common.errors import ConfigError, DataError
from stages.common.plurals import counted
from stages.judge.export.hub_repository import Held, HubRepository, is_of
from stages.judge.export.report import Report
from stages.running.console import say

#: The file that the hub itself puts into a new repository.
_OF_THE_HUB = ".gitattributes"
#: Names of files that a message lists.
_LISTED = 5


class Push:
    """A push that is wanted. What can be known before the export is looked at when it is made.

    Args:
        name: owner and name of the repository.
        public: whether everybody may see it.
        replace: whether other content may be replaced, in a new commit.

    Raises:
        ConfigError: the name is none, there is no token, or it may not write; or the repository is private and shall
            be public, or the other way round.
        ServiceUnavailable: the hub does not answer.
    """

    def __init__(self, name: str, *, public: bool, replace: bool) -> None:
        self._repository = HubRepository(name)
        self._public, self._replace = public, replace
        self._repository.require_writer()
        self._require_visibility(self._repository.held())

    def push(self, folder: Path, report: Report) -> str:
        """Push a folder, and compare what the hub then has.

        Args:
            folder: the exported folder, which was compared.
            report: what the comparison has shown.

        Returns:
            A line for the user, with the address.

        Raises:
            ConfigError: the repository has other content, or is hidden from the token, or the hub refuses.
            DataError: the hub has other bytes afterwards.
            TemporaryFailure: somebody else has pushed meanwhile.
            ServiceUnavailable: the hub does not answer.
        """
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        found = self._repository.held()
        if found is None:
            created = self._repository.create(private=not self._public)
            found = self._repository.held()
            if found is None and not created:
                raise ConfigError(f"{self._repository.address}: the hub has it, and the token may not see it", _HIDDEN)
        if found is None:
            raise DataError(f"{self._repository.address}: created, and the hub has none", _ONCE_MORE)
        self._require_visibility(found)
        who, number = "public" if self._public else "private", counted(len(files), "file")
        address = f"{self._repository.address} ({who})"
        if not (differing := _differing(folder, files, found)):
            return f"{address}: has these {number} already: commit {found.commit[:7]}"
        others = [name for name in found.digests if name != _OF_THE_HUB]
        if others and not self._replace:
            raise ConfigError(f"{self._repository.address}: has other content: {_named(differing)}", _REPLACE)
        say(f"{self._repository.address}: pushing {number}")
        gone = [name for name in others if name not in files]
        message = f"A model whose {counted(report.rows, 'test answer')} were compared with those of its run"
        commit = self._repository.commit(folder, files, gone, message, onto=found.commit)
        after = self._repository.held(commit)
        if after is None or (wrong := _differing(folder, files, after)):
            what = f"{self._repository.address}: commit {commit[:7]} does not hold what was pushed"
            raise DataError(what if after is None else f"{what}: {_named(wrong)}", _ONCE_MORE)
        return f"{address}: {number}, compared with the hub's: commit {commit[:7]}"

    def _require_visibility(self, found: Held | None) -> None:
        """Refuse a repository that more people see than was said, or fewer.

        Raises:
            ConfigError: it is one.
        """
        if found is None or found.private != self._public:
            return
        if self._public:
            raise ConfigError(f"{self._repository.address}: --public, and the repository is private", _MAKE_PUBLIC)
        raise ConfigError(f"{self._repository.address}: the repository is public: everybody would see it", _IS_PUBLIC)


_REPLACE = (
    "name another repository; or add --replace, which makes a new commit with the exported files alone (the earlier "
    "commits stay)"
)
_HIDDEN = "name another repository; or log in with `hf auth login`, or set HF_TOKEN, to a token that may see this one"
_ONCE_MORE = "run the same command again, with --replace"
_MAKE_PUBLIC = "leave out --public, or make it public in its settings on the hub"
_IS_PUBLIC = "add --public, or name another repository"


def _differing(folder: Path, files: list[str], found: Held) -> list[str]:
    """The files that the hub lacks, has of other bytes, or has in addition."""
    missing = [name for name in files if name not in found.digests or not is_of(folder / name, found.digests[name])]
    return missing + [name for name in found.digests if name not in files and name != _OF_THE_HUB]


def _named(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
