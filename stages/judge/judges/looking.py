"""Looks whether the judge of params.yaml answers, without having it judge: before a run, in seconds.

No module of the stage's program imports this one, so that a change here makes no verdict stale.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from stages.common.secrecy import is_loopback
from stages.judge.judges import ollama, openai
from stages.judge.judges.chat_judge import scoring_rubric
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.ollama_model import loaded, look, size_of
from stages.judge.judges.rubric import Rubric
from stages.judge.judges.transport import Fault
from stages.params.judge import Judge


class Slow(Exception):
    """The server has not answered in time, or has a fault that may pass."""


@dataclass(frozen=True)
class Sighting:
    """What was seen of a judge.

    Args:
        server: its address and version, for people.
        model: its model, with what tells it from another of that name.
        identities: the identities (`JudgeBackend.identity`) that it may have; none where it must be asked for a verdict
            to know.
        takes: bytes that the model still takes of this machine's memory; None where that is not known.
    """

    server: str
    model: str
    identities: Sequence[Mapping[str, str]] = ()
    takes: int | None = None


def sight(settings: Judge, seconds: float) -> Sighting | None:
    """Ask the judge's server who it is; None for a judge without one.

    Args:
        settings: the section judge of params.yaml.
        seconds: longest time for all answers.

    Raises:
        Slow: it is there, or may be, and has not answered.
        ConfigError: its address, its key, its model or its rubric is wrong.
        ServiceUnavailable: nobody answers there, or something else does.
    """
    rubric = scoring_rubric(settings)  # of the built-in judge too, as `stages.judge.judges.opening` reads it
    match settings.backend:
        case "reference":
            return None
        case "ollama":
            return _ollama(settings, rubric, seconds)
        case "openai":
            return _openai(settings, seconds)


def _ollama(settings: Judge, rubric: Rubric, seconds: float) -> Sighting:
    deadline = Deadline(seconds)
    with contextlib.closing(ollama.connect(1)) as client:
        try:
            model = look(client, settings, deadline)
        except Fault as fault:
            if _may_pass(fault):
                raise Slow(f"Ollama at {client.url}: {fault}") from fault
            raise ollama.unavailable(client.url, settings.model, fault) from fault
        takes = None
        with contextlib.suppress(Fault):
            if is_loopback(urlsplit(client.url).hostname or ""):
                is_loaded = loaded(client, model.installed["digest"], deadline)
                takes = None if is_loaded else size_of(client, settings.model, deadline)
        judges = [ollama.OllamaJudge(settings, rubric, client, replace(model, refuses=it)) for it in (True, False)]
        return Sighting(
            server=f"Ollama {model.installed['server_version']} at {client.url}",
            model=f"{settings.model}, digest {model.installed['digest'][:12]}, {model.installed['quantization']}",
            identities=[judge.identity() for judge in judges],
            takes=takes,
        )


def _openai(settings: Judge, seconds: float) -> Sighting:
    with contextlib.closing(openai.connect(settings)) as client:
        try:
            said = openai.served(client, settings.model, Deadline(seconds))
        except Fault as fault:
            if _may_pass(fault):
                raise Slow(f"{client.url}: {fault}") from fault
            raise openai.unavailable(client.url, settings.model, fault) from fault
        return Sighting(server=f"an OpenAI-compatible server at {client.url}", model=f"{settings.model}, {said[:12]}")


def _may_pass(fault: Fault) -> bool:
    """Whether a fault says nothing of what will be when the stage begins: no answer in time, or a busy server."""
    return fault.late or (fault.repeatable and not fault.unreachable)
