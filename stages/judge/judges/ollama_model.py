"""Has an Ollama server load the model, and finds out what it says of it, before it is asked to judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.common.errors import ConfigError
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.remedies import is_too_long, of_lateness
from stages.judge.judges.transport import Client, Fault, as_object, excerpt, parse
from stages.params.judge import Judge

#: The longest time to load a model, in seconds: reading a large one from a cold disk can take minutes.
LOAD_SECONDS = 600.0
#: The model stays loaded between two runs; the server's own five minutes can end while another stage works.
KEEP_ALIVE = "30m"


@dataclass(frozen=True)
class Model:
    """What the server says of the model.

    Attributes:
        installed: version, digest and quantisation: what can change behind the model's name.
        shown: the template's hash and the longest context: what follows from the digest.
        thinks: whether it can think before it replies.
        think_values: the values of ``think`` that it takes, where the server says them.
        refuses: whether the server refuses a prompt that is too long, and does not cut it in silence.
        running: GPU memory in bytes and context in tokens with which it is loaded, where the server says them.
    """

    installed: Mapping[str, str]
    shown: Mapping[str, str]
    thinks: bool = False
    think_values: Sequence[Any] | None = None
    refuses: bool = False
    running: Mapping[str, int] = field(default_factory=dict)


def prepare(client: Client, settings: Judge, look_up: float) -> Model:
    """Find the model and have it loaded.

    Args:
        client: the connections to the server.
        settings: the model and the options.
        look_up: longest time for the server to say its version and its models, in seconds.

    Raises:
        Fault: the server does not answer, is not Ollama, or does not load the model.
        ConfigError: it does not have the model, or the model takes less context than judge.num_ctx.
    """
    deadline = Deadline(look_up)
    found = client.repeated(lambda: look(client, settings, deadline), deadline, retries=settings.retries)
    _load(client, settings)
    return replace(
        found,
        running=_running(client, settings, found.installed["digest"], look_up),
        refuses=_refuses_long_prompts(client, settings),
    )


def look(client: Client, settings: Judge, deadline: Deadline) -> Model:
    """Find the model and what the server says of it, without having it loaded.

    Raises:
        Fault: the server does not answer, or is not Ollama.
        ConfigError: it does not have the model, or the model takes less context than judge.num_ctx.
    """
    found = installed(client, settings, deadline)
    shown = as_object(_call(client, "POST", "/api/show", deadline, {"model": settings.model}))
    thinks = "thinking" in _list(shown.get("capabilities"))
    values = as_object(shown.get("thinking")).get("values")
    model = Model(
        installed=found,
        shown=_shown(shown, settings),
        thinks=thinks,
        think_values=values if isinstance(values, list) else None,
    )
    _require_think(model, settings)
    return model


def think_of(model: Model, settings: Judge) -> dict[str, bool | str]:
    """The field ``think`` of a request: only models that can think have it, and older servers refuse it for others."""
    return {} if settings.think is None or not model.thinks else {"think": settings.think}


def _require_think(model: Model, settings: Judge) -> None:
    """Refuse a value of judge.think that the model does not take: the server would go on with its default in silence.

    Raises:
        ConfigError: it does not take it.
    """
    if settings.think in (None, False) and not model.thinks:
        return
    if not model.thinks:
        raise ConfigError(
            f"judge.think ({_yaml(settings.think)}): {settings.model} cannot think", "judge.think: false in params.yaml"
        )
    known = model.think_values
    if settings.think is None or known is None or settings.think in known:
        return
    takes = [_yaml(one) for one in known]
    raise ConfigError(
        f"judge.think: {settings.model} takes {', '.join(takes) or 'no value'}; found {_yaml(settings.think)}",
        f"judge.think: {(takes or ['null'])[0]} in params.yaml, and judge.num_predict: 1024 or more if it thinks",
    )


def _yaml(value: Any) -> str:
    """A value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def size_of(client: Client, model: str, deadline: Deadline) -> int | None:
    """Bytes of the model's weights, where the server says them.

    Raises:
        Fault: the server does not answer.
    """
    for one in map(as_object, _list(as_object(_call(client, "GET", "/api/tags", deadline)).get("models"))):
        if {model, _full(model)} & {one.get("name"), one.get("model")} and type(one.get("size")) is int:
            return int(one["size"])
    return None


def loaded(client: Client, digest: str, deadline: Deadline) -> bool:
    """Whether the server holds the model with this digest in memory.

    Raises:
        Fault: the server does not answer.
    """
    models = _list(as_object(_call(client, "GET", "/api/ps", deadline)).get("models"))
    return any(as_object(model).get("digest") == digest for model in models)


def sampling_options(settings: Judge, repeat: int = 0) -> dict[str, float | int]:
    """The ``options`` of a request; each repeat has a seed of its own."""
    return {
        "temperature": settings.temperature,
        "seed": settings.seed + repeat,
        "num_ctx": settings.num_ctx,
        "num_predict": settings.num_predict,
    }


def _call(client: Client, method: str, path: str, deadline: Deadline, body: Any = None) -> Any:
    return parse(client.call(method, path, body, deadline))


def installed(client: Client, settings: Judge, deadline: Deadline) -> dict[str, str]:
    """The server's version, and the model's digest and quantisation: what can change behind one name.

    Raises:
        Fault: the server does not answer, or is not Ollama.
        ConfigError: it does not have the model, or not with the digest that judge.digest pins.
    """
    version = as_object(_call(client, "GET", "/api/version", deadline)).get("version")
    models = as_object(_call(client, "GET", "/api/tags", deadline)).get("models")
    if not isinstance(version, str) or not isinstance(models, list):
        raise Fault("what answers there is not Ollama", repeatable=False)
    found = _find(models, settings.model, client.url)
    if settings.digest is not None and not found["digest"].removeprefix("sha256:").startswith(settings.digest):
        raise ConfigError(
            f"judge.digest: Ollama at {client.url} has {settings.model} with the digest {found['digest']}; expected "
            f"{settings.digest}",
            f"ollama pull the model of that digest, or take this one: judge.digest: {found['digest'][:12]!r}",
        )
    return found | {"server_version": version}


def _shown(shown: Mapping[str, Any], settings: Judge) -> dict[str, str]:
    """The hash of the prompt template and the longest context, in the answer of /api/show.

    Raises:
        ConfigError: the context is shorter than judge.num_ctx; the server would shorten it in silence.
    """
    template, info = shown.get("template"), as_object(shown.get("model_info"))
    lengths = [value for name, value in info.items() if name.endswith(".context_length") and type(value) is int]
    if lengths:
        _require_context(lengths[0], settings, "takes")
    return {
        "template_sha256": hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else "unknown",
        "context_length": str(lengths[0]) if lengths else "unknown",
    }


def _require_context(length: int, settings: Judge, verb: str) -> None:
    if length < settings.num_ctx:
        raise ConfigError(
            f"judge.num_ctx ({settings.num_ctx}) is more than {settings.model} {verb} ({length} tokens)",
            f"set judge.num_ctx to {length} or less in params.yaml",
        )


def _find(models: list[Any], name: str, url: str) -> dict[str, str]:
    """The digest and the quantisation of a model in the answer of /api/tags."""
    there = [model for model in models if isinstance(model, dict)]
    for model in there:
        if {name, _full(name)} & {model.get("name"), model.get("model")}:
            details = as_object(model.get("details"))
            return {"digest": str(model.get("digest")), "quantization": str(details.get("quantization_level"))}
    raise no_model(url, name, sorted(str(model.get("name")) for model in there))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _full(name: str) -> str:
    """A model's name with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def no_model(url: str, name: str, there: Sequence[str] | None = None) -> ConfigError:
    """The error for a model that the server does not have; trying again does not change that."""
    has = "" if there is None else f"; it has {', '.join(there) or 'none'}"
    return ConfigError(f"judge.model: Ollama at {url} has no model {name!r}{has}", f"ollama pull {name}")


def _load(client: Client, settings: Judge) -> None:
    """Have the model loaded with the options of later requests: without messages it is loaded and does not answer."""
    body = {
        "model": settings.model,
        "messages": [],
        "stream": False,
        "options": sampling_options(settings),
        "keep_alive": KEEP_ALIVE,
    }
    deadline = Deadline(LOAD_SECONDS)

    def load() -> None:
        if "error" in (said := as_object(_call(client, "POST", "/api/chat", deadline, body))):
            raise Fault(f"it does not load {settings.model}: {excerpt(str(said['error']))}")

    client.repeated(load, deadline, retries=settings.retries)


def _running(client: Client, settings: Judge, digest: str, look_up: float) -> dict[str, int]:
    """GPU memory of the loaded model in bytes, and its context in tokens, where the server says them.

    Raises:
        ConfigError: it has been loaded with a shorter context than judge.num_ctx.
    """
    try:
        said = as_object(_call(client, "GET", "/api/ps", Deadline(look_up)))
    except Fault:
        return {}  # nothing depends on it
    models = [model for model in _list(said.get("models")) if as_object(model).get("digest") == digest]
    about = {name: model.get(name) for model in models[:1] for name in ("size_vram", "context_length")}
    found = {name: value for name, value in about.items() if type(value) is int}
    if "context_length" in found:
        _require_context(found["context_length"], settings, "has been loaded with")
    return found


def _refuses_long_prompts(client: Client, settings: Judge) -> bool:
    """Whether the server refuses a prompt of twice its context, as ``truncate: false`` asks; it then reads no token.

    Raises:
        Fault: it neither refuses nor answers. A guess could make the verdict on every long prompt invalid.
    """
    long = {"role": "user", "content": "7 3 " * settings.num_ctx}
    options = sampling_options(settings) | {"num_predict": 1}
    body = {"model": settings.model, "messages": [long], "stream": False, "options": options, "truncate": False}
    deadline = Deadline(settings.deadline_seconds, remedy=of_lateness(1))

    def refuses() -> bool:
        try:
            client.call("POST", "/api/chat", body | {"keep_alive": KEEP_ALIVE}, deadline)
        except Fault as fault:
            if fault.status == 400 or is_too_long(str(fault)):  # an adapter before Ollama answers 502 with its words
                return True
            raise
        return False

    return client.repeated(refuses, deadline, retries=settings.retries)
