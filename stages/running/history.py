"""Which commit has the code that made results, by the MD5 that their dvc.lock has of each file of it.

A run names the last commit before it. Its code was edited since then, perhaps, and committed afterwards: then another
commit has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.running import git

#: Commits that are looked at for code which the run's own commit does not have, the newest first.
_MOST = 500
#: Files by which commits are sorted out before all files of one are compared.
_FIRST = 20
_CODE = ".py"


class History:
    """The files of a repository's commits, by their MD5.

    Args:
        root: folder in the repository; paths start there.
        most: commits that are looked at, at most.
    """

    def __init__(self, root: Path, most: int = _MOST) -> None:
        self._root = root
        self._most = most
        self._digests: dict[str, str] = {}

    def knows(self, commit: str) -> bool:
        """Whether the repository has a commit."""
        return bool(commit) and bool(git.ask(self._root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))

    def differing(self, commit: str, named: Mapping[str, str]) -> list[str]:
        """The files that a commit lacks, or has otherwise.

        Args:
            commit: the commit, which the repository has.
            named: MD5 by path, result of `named_in`. A file that is no code and in no commit is not looked at.

        Raises:
            ConfigError: git cannot read its objects.
        """
        blobs = self._blobs(commit)
        self._read({blobs[path] for path in named if path in blobs})
        return [
            path
            for path, md5 in named.items()
            if (path in blobs or path.endswith(_CODE)) and self._digests.get(blobs.get(path, "")) != md5
        ]

    def with_code(self, commit: str, named: Mapping[str, str]) -> str | None:
        """A commit with all of these files: the one that is given, or the newest other one; None without one.

        Args:
            commit: the commit to look at first; the repository need not have it.
            named: MD5 by path, as in `differing`.

        Raises:
            ConfigError: git cannot read its objects.
        """
        first = sorted(path for path in named if path.endswith(_CODE))
        if self.knows(commit):
            wrong = self.differing(commit, named)
            if not wrong:
                return commit
            first = wrong
        others = self._with_files(self._changing(named)[: self._most], first[:_FIRST], named)
        return next((other for other in others if not self.differing(other, named)), None)

    def are_all_looked_at(self, named: Mapping[str, str]) -> bool:
        """Whether `with_code` looks at all commits that change one of these files, and not at the newest alone."""
        return len(self._changing(named)) <= self._most

    def told_most(self, named: Mapping[str, str]) -> str:
        """In words, which commits `with_code` has looked at where it has found none: ``no commit``."""
        if self.are_all_looked_at(named):
            return "no commit"
        return f"none of the {self._most:,} newest commits that change its files"

    def _changing(self, named: Mapping[str, str]) -> list[str]:
        """The commits that change one of these files, the newest first, and one more than are looked at.

        The commit in which all of them came to be what is wanted is among them, whichever was the last to change. The
        history is whole, as a branch that a merge has left aside may have it. DVC's experiments are commits too.
        """
        limits = ("--all", "--full-history", f"--max-count={self._most + 1}")
        return git.ask(self._root, "--literal-pathspecs", "rev-list", *limits, "--", *sorted(named)).split()

    def _with_files(self, commits: Sequence[str], paths: Sequence[str], named: Mapping[str, str]) -> list[str]:
        """Those of some commits which have these files as they are named, asked of git at once."""
        if not commits:
            return []  # nor need there be a repository
        names = "".join(f"{commit}:./{path}\n" for commit in commits for path in paths)
        asked = self._objects("--batch-check=%(objectname) %(objecttype)", names)
        told = [line.split() for line in asked.decode().splitlines()]
        blobs = [line[0] if line[-1] == "blob" else "" for line in told]  # else "missing"
        self._read({blob for blob in blobs if blob})
        found = []
        for number, commit in enumerate(commits):
            own = blobs[number * len(paths) : (number + 1) * len(paths)]
            if all(self._digests.get(blob) == named[path] for path, blob in zip(paths, own, strict=True)):
                found.append(commit)
        return found

    def _blobs(self, commit: str) -> dict[str, str]:
        """The object of each file of a commit, by path."""
        listed = git.ask(self._root, "ls-tree", "-r", "-z", commit).split("\0")
        found = (line.partition("\t") for line in listed if line)
        return {path: what.split()[2] for what, _, path in found if what.split()[1] == "blob"}

    def _read(self, blobs: Iterable[str]) -> None:
        """Hash the objects that are not hashed yet."""
        wanted = sorted(set(blobs) - self._digests.keys())
        if not wanted:
            return
        told, start = self._objects("--batch", "".join(f"{blob}\n" for blob in wanted)), 0
        for blob in wanted:  # a line "OBJECT blob SIZE", the content, a line end; or a line "OBJECT missing"
            end = told.index(b"\n", start)
            if told[start:end].endswith(b" missing"):
                start = end + 1
                continue
            size = int(told[start:end].split()[2])
            content = told[end + 1 : end + 1 + size]
            self._digests[blob] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            start = end + 1 + size + 1

    def _objects(self, option: str, names: str) -> bytes:
        """What `git cat-file` says of objects, one a line."""
        return git.do_with_bytes(self._root, "cat-file", option, fix="git fsck", given=names.encode())


def named_in(stages: Mapping[str, Any]) -> dict[str, str]:
    """The MD5 of each file that stages have read and none of them has made, by path.

    Args:
        stages: the entries of a dvc.lock, by the stages' names.
    """
    made = {str(one["path"]) for entry in stages.values() for one in entry.get("outs") or ()}
    read = (one for entry in stages.values() for one in entry.get("deps") or () if "md5" in one)
    return {
        str(one["path"]): str(one["md5"])
        for one in read
        if str(one["path"]) not in made and not str(one["md5"]).endswith(".dir")
    }
