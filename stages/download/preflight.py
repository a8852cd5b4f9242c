"""What the download needs, looked at before a run (`stages.running.checks.asking`).

Nothing is downloaded. What is in a cache is not asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from stages.common.errors import ConfigError, NoSpace, PipelineError, ServiceUnavailable
from stages.common.files import read_json
from stages.common.plurals import counted
from stages.common.reasons import reason
from stages.download import bpe, expected, hub, hub_dataset, shards, source
from stages.download.fetch import check_file, guarded_session, is_url
from stages.download.local_model import LocalFolder
from stages.download.model_files import CONFIG, KEY
from stages.download.shards import INDEX, WEIGHTS
from stages.download.watched import is_watched
from stages.params.download import DataSource, ModelSource
from stages.params.whole import Params
from stages.running import dvc_yaml, machine
from stages.running.checks.row import Row, ok, problem, warning
from stages.running.console import size
from stages.running.proxies import proxy_for

#: The longest wait for an answer, in seconds.
SECONDS = 3.0


def prepare(params: Params) -> None:
    """Import what asks the hub, where it may have to be asked."""
    data = params.download.data
    named = [source.source for source in data.sources] or [data.source]
    if params.download.model.weights == "hub" or any(map(hub_dataset.is_on_hub, named)):
        hub.load()


def rows(params: Params) -> Iterator[Row]:
    """Whether dataset, tokenizer and weights are there, or can be fetched."""
    data = params.download.data
    if not data.sources:
        yield from _told("dataset", lambda: dataset(data))
    for number, one in enumerate(data.sources):
        yield from _told(f"dataset {one.label}", functools.partial(_of_a_mix, data, number))
    yield from _told("tokenizer", lambda: tokenizer(params.download.tokenizer.source))
    yield from _told("weights", lambda: weights(params.download.model))


def further(params: Params) -> Iterator[Row]:
    """Why the rows cannot be used, where that is known beforehand; nothing of a file that is refused by itself."""
    data = params.download.data
    try:
        outcome = expected.outcome_of(data)
        if outcome is None or outcome.error is None:
            return
        dataset(data)
    except (PipelineError, TimeoutError):
        return  # the first rows say it
    yield problem("dataset rows", outcome.error)


def _told(name: str, look: Callable[[], str]) -> Iterator[Row]:
    try:
        yield ok(name, look())
    except PipelineError as error:
        yield problem(name, error)
    except TimeoutError as error:
        yield warning(name, f"{error}; it is asked again, and longer, when the stage begins")


def dataset(settings: DataSource) -> str:
    """Where the dataset comes from.

    Raises:
        ConfigError: it is not there, or its SHA-256 is needed and missing.
        DataError: it is a small file on this machine with another SHA-256.
        ServiceUnavailable: its server does not answer.
        TimeoutError: the server has not answered in time.
    """
    if is_watched(settings.source):
        _require_imported(Path(settings.source))
        return f"{settings.source}, which DVC brings in"
    source.require_sha256(settings)
    if hub_dataset.is_on_hub(settings.source):
        return _on_hub(hub_dataset.parse(settings.source))
    if is_url(settings.source, source.SOURCE):
        return _reached(settings.source, source.SOURCE)
    source.require_local_file(settings)
    return settings.source


def _of_a_mix(settings: DataSource, number: int) -> str:
    """Where a source of a mix comes from, by its number from 0; errors as `dataset`."""
    with source.keyed(number):
        return dataset(settings.alone(settings.sources[number]))


def _on_hub(wanted: hub_dataset.HubFile) -> str:
    there = wanted.repository
    if wanted.several:
        return f"{counted(len(hub_dataset.names_of(wanted)), 'file')} of {there.name} by {wanted.file}"
    if there.cached(wanted.file):
        return f"{wanted.file} of {there.name}, in the hub's cache"
    length = there.length(wanted.file, SECONDS)
    if length is None:
        raise wanted.absent()
    return f"{wanted.file} of {there.name}, {size(length)} to be downloaded"


def _require_imported(path: Path) -> None:
    """Refuse a file that DVC would have to bring in from a folder that does not have it."""
    for one in dvc_yaml.imports(Path()):
        if one.source is None or not path.is_relative_to(one.path):
            continue
        there = one.source / path.relative_to(one.path)
        if not there.exists():
            raise ConfigError(
                f"{source.SOURCE}: {path}: no such file; DVC copies {one.source} to {one.path}, without {there}",
                f"put the file there, or correct {source.SOURCE} in params.yaml or --set",
            )


def tokenizer(named: str) -> str:
    """Where the tokenizer's files come from; errors as `dataset`."""
    if is_url(named, bpe.KEY):
        return _reached(f"{named.rstrip('/')}/vocab.bpe", bpe.KEY)
    check_file(bpe.folder_of(named) / "vocab.bpe", bpe.KEY)
    return named


def weights(settings: ModelSource) -> str:
    """Where the weights come from; errors as `dataset`, and NoSpace where they do not fit on the hub's cache's disk."""
    if settings.weights == "scratch":
        return "random ones, made here"
    if settings.weights == "folder":
        LocalFolder(settings.repo or "")
        return str(settings.repo)
    assert settings.repo, "checked by ModelSource"
    assert settings.revision, "checked by ModelSource"
    there = hub.Repository(settings.repo, settings.revision)
    if there.cached(CONFIG) and (_whole(there) or there.cached(WEIGHTS)):
        return f"{there.name}, in the hub's cache"
    length = there.length(WEIGHTS, SECONDS)
    if length is None and there.length(INDEX, SECONDS) is None:
        raise ConfigError(f"{there.name}: no {WEIGHTS} and no {INDEX}", f"correct {KEY}.repo in params.yaml")
    if length is None:
        return f"{there.name}, to be downloaded in shards"
    _require_room(length)
    return f"{there.name}, {size(length)} to be downloaded; how long that takes shows as they come"


def _whole(there: hub.Repository) -> bool:
    """Whether the cache has all shards of a model."""
    index = there.cached(INDEX)
    if index is None:
        return False
    listed = shards.names_of(read_json(index, made_by=f"correct {KEY}.repo"), name=INDEX, fix=f"correct {KEY}.repo")
    return all(there.cached(name) for name in listed)


def _require_room(length: int) -> None:
    folder = hub.cache_folder()
    if (free := machine.free_disk(folder)) < length:
        raise NoSpace(
            f"{folder}: the weights take {size(length)}, and {size(free)} are free",
            "free some space, or set HF_HUB_CACHE to a folder on another disk",
        )


def _reached(url: str, key: str) -> str:
    """Ask a web server for a file, without reading it."""
    proxy = proxy_for(url)
    through = f" ({proxy})" if proxy else ""
    fix = f"check the network, {f'{proxy.fix}, ' if proxy else ''}or set {key} in params.yaml to a local copy"
    try:
        with guarded_session(key) as session, session.get(url, stream=True, timeout=SECONDS) as response:
            status = response.status_code
    except requests.Timeout as error:
        raise TimeoutError(f"{url}: no answer within {SECONDS:g} s{through}") from error
    except requests.RequestException as error:
        raise ServiceUnavailable(f"{url}: {reason(error)}{through}", fix) from error
    except ValueError as error:
        raise ConfigError(f"{url}: not a valid URL: {error}{through}", f"correct {key} in params.yaml") from error
    if 400 <= status < 500 and status not in (408, 425, 429):
        raise ConfigError(f"{url}: answered {status}{through}", f"correct {key} in params.yaml")
    if status >= 400:
        raise TimeoutError(f"{url}: answered {status}{through}")
    return f"{url}, which answers"
