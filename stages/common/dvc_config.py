"""DVC's configuration, read from its files by the parser that DVC itself uses (`dvc.config.Config`, DVC 3.67).

To ask DVC takes most of a second, and DVC tells a stage that it runs nothing of it. A repository has up to four files:
.dvc/config.local counts before .dvc/config, then come the user's and the machine's. A relative path starts at the
folder of its file, so that here every path is made to start there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from configobj import ConfigObj, ConfigObjError

from stages.common.errors import ConfigError

#: DVC's folder in a repository.
FOLDER = Path(".dvc")
COMMITTED, LOCAL = FOLDER / "config", FOLDER / "config.local"

#: A value, or the parts of one that has commas.
Value = str | list[str]
#: Values by section and key. A remote's section is named as in a file: ``remote "store"``.
Sections = Mapping[str, Mapping[str, Value]]

_OF_REMOTE = re.compile(r'\s*remote\s*"(?P<name>.*)"\s*')
#: The keys whose values are paths (`Config._map_dirs`).
_PATHS_OF_REMOTE = frozenset(
    {
        *("url", "gdrive_user_credentials_file", "gdrive_service_account_json_file_path", "credentialpath"),
        *("configpath", "keyfile", "cert_path", "key_path"),
    }
)
_ADDRESS = re.compile(r"\w+://")


class Remotes(NamedTuple):
    """DVC's remotes.

    Attributes:
        named: the options of each, such as its url, by its name.
        default: name of the default one; empty without one.
    """

    named: Mapping[str, Mapping[str, Value]]
    default: str

    def over(self, others: Remotes) -> Remotes:
        """These remotes, and those of others whose names they do not have."""
        return Remotes({**others.named, **self.named}, self.default or others.default)

    @property
    def settings(self) -> Settings:
        """The settings of a file that has them."""
        core: Sections = {"core": {"remote": self.default}} if self.default else {}
        return Settings({**core, **{f'remote "{name}"': options for name, options in self.named.items()}})


class Settings(NamedTuple):
    """What configuration files say.

    Attributes:
        sections: the values, each path from the folder of its file.
    """

    sections: Sections

    def value(self, section: str, key: str) -> str:
        """A value, with commas if it has parts; empty where it is not set."""
        found = self.sections.get(section, {}).get(key, "")
        return found if isinstance(found, str) else ",".join(found)

    @property
    def remotes(self) -> Remotes:
        """The remotes."""
        found = ((_OF_REMOTE.fullmatch(section), options) for section, options in self.sections.items())
        named = {match["name"]: options for match, options in found if match}
        return Remotes(named, self.value("core", "remote").lower())  # as the names of sections


def files(root: Path) -> list[Path]:
    """DVC's configuration files, which need not be there; what one says counts before what the next ones say.

    Args:
        root: folder of the repository.
    """
    homes = {
        "DVC_GLOBAL_CONFIG_DIR": Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": Path("/etc/xdg/dvc"),
    }
    others = [Path(os.environ.get(variable) or default, "config") for variable, default in homes.items()]
    return [root / LOCAL, root / COMMITTED, *others]


def read(root: Path = Path()) -> Settings:
    """What counts in a repository, of all its configuration files.

    Args:
        root: folder of the repository. Of a folder that is none, the user's and the machine's files are read.

    Raises:
        ConfigError: DVC cannot read one of them.
    """
    return merged(map(read_file, files(root)))


def read_own(root: Path) -> Settings:
    """What a repository's own configuration files say, without the user's and the machine's.

    Args:
        root: folder of the repository.

    Raises:
        ConfigError: DVC cannot read one of them.
    """
    return merged([read_file(root / LOCAL), read_file(root / COMMITTED)])


def merged(several: Iterable[Settings]) -> Settings:
    """Settings put together; what the first ones say counts before what the next ones say."""
    found: dict[str, Mapping[str, Value]] = {}
    for one in several:
        for section, values in one.sections.items():
            found[section] = {**values, **found.get(section, {})}
    return Settings(found)


def read_file(path: Path, folder: Path | None = None) -> Settings:
    """What a configuration file says; nothing where it is missing.

    Args:
        path: the file.
        folder: folder from which relative paths are taken; that of the file by default.

    Raises:
        ConfigError: DVC cannot read it.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path), folder or path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return Settings({})
    except OSError as error:
        raise _unreadable(str(path), error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unreadable(str(path), "it is not in UTF-8") from None


def parse(text: str, name: str, folder: Path) -> Settings:
    """What the text of a configuration file says.

    Args:
        text: the text.
        name: name of the file, for messages.
        folder: folder from which relative paths are taken.

    Raises:
        ConfigError: DVC cannot read it.
    """
    try:
        tree = ConfigObj(text.splitlines(), interpolation=False).dict()
    except ConfigObjError as error:
        raise _unreadable(name, str(error)) from None
    if alone := next((key for key, values in tree.items() if not isinstance(values, dict)), None):
        raise _unreadable(name, f"{alone!r} is in no section")
    return Settings({section.lower(): _resolved(section.lower(), values, folder) for section, values in tree.items()})


def write(path: Path, settings: Settings) -> None:
    """Write a configuration file, which this user alone can read: it may hold passwords.

    Args:
        path: the file, which is not there yet.
        settings: its values, whose paths are absolute.
    """
    made = ConfigObj(interpolation=False)
    made.update({section: dict(values) for section, values in settings.sections.items()})
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in made.write()), encoding="utf-8")


def _unreadable(name: str, reason: str) -> ConfigError:
    what = f"{name}: DVC cannot read its configuration: {reason}"
    return ConfigError(what, "correct it; then dvc config --list shows what DVC reads")


def _resolved(section: str, values: Mapping[str, Value], folder: Path) -> dict[str, Value]:
    """The values of a section, each path from the folder of its file."""
    keys = _PATHS_OF_REMOTE if _OF_REMOTE.fullmatch(section) else {"dir"} if section == "cache" else frozenset()
    return {
        key.lower(): _path(value, folder) if key.lower() in keys and isinstance(value, str) else value
        for key, value in values.items()
    }


def _path(value: str, folder: Path) -> str:
    """A path from a folder, as DVC takes it: ``..`` leaves a symbolic link by its name. An address stays as it is."""
    return value if _ADDRESS.match(value) else os.path.normpath(folder / os.path.expanduser(value))  # noqa: PTH111
