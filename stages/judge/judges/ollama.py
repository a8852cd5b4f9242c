"""A language model behind Ollama as judge, by POST /api/chat. Measured behaviour of the server that this answers to:

- Unknown keys at the top of a request are ignored in silence: what steers sampling is in ``options``.
- A prompt that is too long is cut in its middle in silence, unless ``truncate`` is false; old servers ignore that. What
  is left is half of ``num_ctx`` or a little more (130 of 256), or all of it.
- A fault in mid stream comes as a line {"error": ...} under status 200, or as an end without ``done``.
- No byte is sent until the model is loaded and has read the prompt; other options than before load it again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judge.judges.address import VARIABLE, ollama_url
from stages.judge.judges.chat_judge import ChatJudge, Reply, scoring_rubric
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.expected import TOP
from stages.judge.judges.protocol import DEADLINE, Question
from stages.judge.judges.rubric import Rubric
from stages.judge.judges.transport import (
    FIRST_WAIT,
    LOOK_UP_SECONDS,
    STALL_SECONDS,
    Client,
    Fault,
    as_object,
    excerpt,
    parse,
)
from stages.judge.judges.usage import Usage
from stages.params.judge import Judge

#: Reading a large model from a cold disk can take minutes; the server itself gives up after five.
LOAD_SECONDS = 600.0
#: What llama.cpp says of a prompt that is too long: Ollama passes it on with 400, an adapter before it with 502.
TOO_LONG = "exceeds the available context size"
#: The model stays loaded between two runs; the server's own five minutes can end while another stage works.
KEEP_ALIVE = "30m"
#: The counts of a reply's last line, in nanoseconds, by the names in `stages.judge.judges.usage`.
_DURATIONS = {
    "load_seconds": "load_duration",
    "prompt_seconds": "prompt_eval_duration",
    "reply_seconds": "eval_duration",
}


@dataclass(frozen=True)
class Model:
    """What the server says of the model.

    Attributes:
        installed: version, digest and quantisation: what can change behind the model's name.
        shown: the template's hash and the longest context: what follows from the digest.
        thinks: whether it can reason before it replies.
        refuses: whether the server refuses a prompt that is too long, and does not cut it in silence.
    """

    installed: Mapping[str, str]
    shown: Mapping[str, str]
    thinks: bool = False
    refuses: bool = False


class OllamaJudge(ChatJudge):
    """Asks one model with one rubric; made by `open_ollama_judge`."""

    REASON, LIMIT = "done_reason", "num_predict"

    def __init__(
        self,
        settings: Judge,
        rubric: Rubric,
        client: Client,
        usage: Usage,
        model: Model,
        *,
        look_up: float = LOOK_UP_SECONDS,
        stall: float | None = STALL_SECONDS,
    ) -> None:
        super().__init__(settings, rubric, client, usage, stall=stall)
        self._model = model
        self._look_up = look_up

    def identity(self) -> dict[str, str]:
        """The model by its digest, its template, the server's version, the rubric by its hash, and the options.

        Where long prompts are cut, verdicts on them are invalid, and the cache keeps these.
        """
        return {
            "backend": "ollama",
            "model": self._settings.model,
            **self._model.installed,
            **self._model.shown,
            "rubric": self._rubric.name,
            "rubric_sha256": self._rubric.sha256,
            "options": json.dumps(_options(self._settings), sort_keys=True),
            "score": "expected value" if self._settings.expected_value else "as said",
            "long_prompts": "refused" if self._model.refuses else "cut",
        }

    def _look(self) -> Mapping[str, str]:
        deadline = Deadline(self._look_up)
        attempt = functools.partial(_installed, self._client, self._settings.model, deadline)
        return self._client.repeated(attempt, deadline, retries=self._settings.retries)

    def _shortened(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "options": request["options"] | {"num_predict": 1}}

    def _request(self, question: Question, repeat: int) -> dict[str, Any]:
        schema = self._rubric.schema()
        logprobs = {"logprobs": True, "top_logprobs": TOP} if self._settings.expected_value else {}
        return {
            "model": self._settings.model,
            "messages": self._rubric.messages(question),
            "stream": True,
            **({"format": schema} if schema else {}),
            **({"think": False} if self._model.thinks else {}),  # only these have the field
            "options": _options(self._settings, repeat),
            "truncate": False,
            "keep_alive": KEEP_ALIVE,
            **logprobs,
        }

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        return _chat(self._client, request, deadline)

    def _problem(self, request: dict[str, Any], reply: Reply) -> str | None:
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in request["messages"])
        return super()._problem(request, reply) or prompt_problem(
            size, reply.prompt_tokens, self._settings, refuses=self._model.refuses
        )

    def _unavailable(self, fault: Fault) -> ServiceUnavailable | ConfigError:
        return _unavailable(self._client.url, self._settings.model, fault)


def open_ollama_judge(
    settings: Judge,
    *,
    first_wait: float = FIRST_WAIT,
    look_up: float = LOOK_UP_SECONDS,
    stall: float = STALL_SECONDS,
) -> OllamaJudge:
    """Find the server and the model, and have the model loaded, before anything is judged.

    Args:
        settings: the model, the rubric and the options.
        first_wait: seconds before a failed call is repeated for the first time.
        look_up: the longest time for the server to say its version and its models, in seconds.
        stall: the longest silence of a verdict that has begun, in seconds.

    Raises:
        ServiceUnavailable: nobody answers at OLLAMA_HOST, it is not Ollama, or it does not load the model.
        ConfigError: OLLAMA_HOST is no address, the server does not have the model, the model takes less context than
            judge.num_ctx, or there is no such rubric.
    """
    rubric = scoring_rubric(settings)
    client = Client(ollama_url(), connections=settings.parallel, first_wait=first_wait)
    try:
        model, usage = _open(client, settings, look_up)
    except Fault as fault:
        client.close()
        raise _unavailable(client.url, settings.model, fault) from fault
    except ConfigError:
        client.close()
        raise
    return OllamaJudge(settings, rubric, client, usage, model, look_up=look_up, stall=stall)


def _open(client: Client, settings: Judge, look_up: float) -> tuple[Model, Usage]:
    """What the server says of the model, and what it says once it has loaded it."""
    deadline = Deadline(look_up)

    def look() -> tuple[Mapping[str, str], dict[str, Any]]:
        installed = _installed(client, settings.model, deadline)
        return installed, as_object(_call(client, "POST", "/api/show", deadline, {"model": settings.model}))

    installed, shown = client.repeated(look, deadline, retries=settings.retries)
    about = _shown(shown, settings)
    _load(client, settings)
    usage = Usage(_running(client, settings, installed["digest"], look_up))
    thinks = "thinking" in _list(shown.get("capabilities"))
    return Model(installed, about, thinks, _refuses_long_prompts(client, settings)), usage


def prompt_problem(size: int, count: Any, settings: Judge, *, refuses: bool) -> str | None:
    """Say how the judge can have seen only a part of the prompt; None if it has seen all of it.

    Args:
        size: the prompt's length in bytes, which is at least that in tokens.
        count: ``prompt_eval_count``, the tokens that the server says it read. Some servers do not say it.
        settings: for the context, which the prompt and the verdict share.
        refuses: whether the server refuses prompts that are too long.
    """
    room = settings.num_ctx - settings.num_predict
    remedy = f"(judge.num_ctx {settings.num_ctx}, judge.num_predict {settings.num_predict})"
    if type(count) is int and count > room:
        return f"the prompt of {count} tokens leaves no room for a verdict {remedy}"
    if refuses or size <= room:
        return None
    if type(count) is not int:
        return f"the server does not say whether the prompt of {size} bytes fitted {remedy}"
    if count >= settings.num_ctx // 2:  # no cut leaves fewer
        return (
            f"the server read {count} tokens of a prompt of {size} bytes, and cuts prompts that are too long in "
            f"silence: it may have cut this one; a newer Ollama refuses them {remedy}"
        )
    return None


def _options(settings: Judge, repeat: int = 0) -> dict[str, float | int]:
    return {
        "temperature": settings.temperature,
        "seed": settings.seed + repeat,
        "num_ctx": settings.num_ctx,
        "num_predict": settings.num_predict,
    }


def _call(client: Client, method: str, path: str, deadline: Deadline, body: Any = None) -> Any:
    return parse(client.call(method, path, body, deadline))


def _installed(client: Client, model: str, deadline: Deadline) -> dict[str, str]:
    """The server's version, and the model's digest and quantisation: what can change behind one name."""
    version = as_object(_call(client, "GET", "/api/version", deadline)).get("version")
    models = as_object(_call(client, "GET", "/api/tags", deadline)).get("models")
    if not isinstance(version, str) or not isinstance(models, list):
        raise Fault("what answers there is not Ollama", repeatable=False)
    return _find(models, model, client.url) | {"server_version": version}


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
    raise _no_model(url, name, sorted(str(model.get("name")) for model in there))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _full(name: str) -> str:
    """A model's name with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _no_model(url: str, name: str, there: Sequence[str] | None = None) -> ConfigError:
    """That the server does not have the model; trying again does not change that."""
    has = "" if there is None else f"; it has {', '.join(there) or 'none'}"
    return ConfigError(f"judge.model: Ollama at {url} has no model {name!r}{has}", f"ollama pull {name}")


def _load(client: Client, settings: Judge) -> None:
    """Have the model loaded, with the options with which it will be asked: no messages, no answer."""
    body = {
        "model": settings.model,
        "messages": [],
        "stream": False,
        "options": _options(settings),
        "keep_alive": KEEP_ALIVE,
    }
    deadline = Deadline(LOAD_SECONDS)

    def load() -> None:
        if "error" in (said := as_object(_call(client, "POST", "/api/chat", deadline, body))):
            raise Fault(f"it does not load {settings.model}: {excerpt(str(said['error']))}")

    client.repeated(load, deadline, retries=settings.retries)


def _running(client: Client, settings: Judge, digest: str, look_up: float) -> dict[str, int]:
    """The GPU's memory that the loaded model takes, in bytes, and its context; what an old server does not say is left
    out.

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
    """Whether the server refuses a prompt of twice its context, as ``truncate: false`` asks; it reads no token then.

    Raises:
        Fault: it does neither that nor answer. To guess would make every long prompt's verdict invalid.
    """
    long = {"role": "user", "content": "7 3 " * settings.num_ctx}
    options = _options(settings) | {"num_predict": 1}
    body = {"model": settings.model, "messages": [long], "stream": False, "options": options, "truncate": False}
    deadline = Deadline(settings.deadline_seconds, key=DEADLINE)

    def refuses() -> bool:
        try:
            client.call("POST", "/api/chat", body | {"keep_alive": KEEP_ALIVE}, deadline)
        except Fault as fault:
            if fault.status == 400 or TOO_LONG in str(fault):
                return True
            raise
        return False

    return client.repeated(refuses, deadline, retries=settings.retries)


def _chat(client: Client, request: dict[str, Any], deadline: Deadline) -> Reply:
    """One attempt: the whole content, and what the stream's last line, whose ``done`` is true, says of it."""
    content: list[str] = []
    logprobs: list[Any] = []
    final: dict[str, Any] | None = None
    for line in client.call("POST", "/api/chat", request, deadline).splitlines():
        if not line.strip():
            continue
        value = parse(line)
        if not isinstance(value, dict):
            raise Fault(f"not a line of Ollama's protocol: {excerpt(repr(value))}")
        if "error" in value:
            raise Fault(f"error in mid stream: {excerpt(str(value['error']))}")
        message = value.get("message")
        if final is not None or not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise Fault(f"not a line of Ollama's protocol: {excerpt(repr(value))}")
        content.append(message["content"])
        more = value.get("logprobs") or []
        if not isinstance(more, list):
            raise Fault(f"not a line of Ollama's protocol: {excerpt(repr(value))}")
        logprobs += more
        if value.get("done") is True:
            final = value
    if final is None:
        raise Fault(f"the stream ended without done, after {excerpt(''.join(content))!r}")
    counts = final.get("prompt_eval_count"), final.get("eval_count")
    spans = {name: final.get(field) for name, field in _DURATIONS.items()}
    seconds = {name: span / 1e9 for name, span in spans.items() if type(span) is int}
    return Reply("".join(content), final.get("done_reason"), *counts, logprobs, seconds)


def _unavailable(url: str, model: str, fault: Fault) -> ServiceUnavailable | ConfigError:
    if fault.status == 404 and "model" in str(fault):
        return _no_model(url, model)
    if fault.unreachable:
        return ServiceUnavailable(
            f"no Ollama at {url}: {fault}", f"ollama serve, or {VARIABLE}=host:port where it runs elsewhere"
        )
    return ServiceUnavailable(f"Ollama at {url}: {fault}", f"see what answers there, or set {VARIABLE}")
