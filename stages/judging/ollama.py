"""A language model behind Ollama as judge, by POST /api/chat. Measured behaviour of the server that this answers to:

- Unknown keys at the top of a request are ignored in silence: what steers sampling is in ``options``.
- A prompt that is too long is cut in its middle in silence, unless ``truncate`` is false; old servers ignore that.
- A fault in mid stream comes as a line {"error": ...} under status 200, or as an end without ``done``.
- No byte is sent until the model is loaded and has read the prompt; other options than before load it again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.params import Judge as JudgeParams
from stages.judging.address import VARIABLE, ollama_url
from stages.judging.chat import ChatJudge, Reply
from stages.judging.deadline import Deadline
from stages.judging.expected import TOP
from stages.judging.judge import JudgeChanged, Question
from stages.judging.rubric import Rubric, load_rubric
from stages.judging.transport import FIRST_WAIT, Client, Fault, excerpt

#: Reading a large model from a cold disk can take minutes; the server itself gives up after five.
LOAD_SECONDS = 600.0
#: The longest time for the server to say its version and its models.
LOOK_UP_SECONDS = 10.0
#: The model stays loaded between two runs; the server's own five minutes can end while another stage works.
KEEP_ALIVE = "30m"
#: Text with more bytes a token than this has been cut: English has 4 to 5, and a cut drops half and more.
MOST_BYTES_A_TOKEN = 8


class OllamaJudge(ChatJudge):
    """Asks one model with one rubric; made by `open_ollama_judge`."""

    def __init__(self, params: JudgeParams, rubric: Rubric, client: Client, found: dict[str, str]) -> None:
        super().__init__(params, rubric, client)
        self._found = found

    def identity(self) -> dict[str, str]:
        """The model by its digest, its template, the server's version, the rubric by its hash, and the options."""
        return {
            "backend": "ollama",
            "model": self._params.model,
            **self._found,
            "rubric": self._rubric.name,
            "rubric_sha256": self._rubric.sha256,
            "options": json.dumps(_options(self._params), sort_keys=True),
            "score": "expected value" if self._params.expected_value else "as said",
        }

    def check(self) -> None:
        """Ask for the version and the digest again: a tag such as llama3 can come to mean another model meanwhile."""
        deadline = Deadline(LOOK_UP_SECONDS)
        attempt = functools.partial(_installed, self._client, self._params.model)
        try:
            now = self._client.repeated(attempt, deadline, retries=self._params.retries)
        except Fault as fault:
            raise self._unavailable(fault) from fault
        before = self._found
        if changed := [f"{name} {before[name]} is now {now[name]}" for name in now if now[name] != before[name]]:
            raise JudgeChanged(
                f"the judge changed while it judged: {', '.join(changed)}",
                "run the same command again: the new judge then scores all answers",
            )

    def _request(self, question: Question, repeat: int) -> dict[str, Any]:
        schema = self._rubric.schema()
        logprobs = {"logprobs": True, "top_logprobs": TOP} if self._params.expected_value else {}
        return {
            "model": self._params.model,
            "messages": self._rubric.messages(question),
            "stream": True,
            **({"format": schema} if schema else {}),
            "options": _options(self._params, repeat),
            "truncate": False,
            "keep_alive": KEEP_ALIVE,
            **logprobs,
        }

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        return _chat(self._client, request, deadline)

    def _problem(self, request: dict[str, Any], reply: Reply) -> str | None:
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in request["messages"])
        return super()._problem(request, reply) or prompt_problem(size, reply.prompt_tokens, self._params)

    def _unavailable(self, fault: Fault) -> ServiceUnavailable | ConfigError:
        return _unavailable(self._client.url, self._params.model, fault)


def open_ollama_judge(params: JudgeParams, *, first_wait: float = FIRST_WAIT) -> OllamaJudge:
    """Find the server and the model, and have the model loaded, before anything is judged.

    Args:
        params: the model, the rubric and the options.
        first_wait: seconds before a failed call is repeated for the first time.

    Raises:
        ServiceUnavailable: nobody answers at OLLAMA_HOST, it is not Ollama, or it does not load the model.
        ConfigError: OLLAMA_HOST is no address, the server does not have the model, the model takes less context than
            judge.num_ctx, or there is no such rubric.
    """
    rubric = load_rubric(params.rubric)
    client = Client(ollama_url(), connections=params.parallel, first_wait=first_wait)
    try:
        found = {**_installed(client, params.model), **_shown(client, params)}
        _load(client, params)
    except Fault as fault:
        client.close()
        raise _unavailable(client.url, params.model, fault) from fault
    except ConfigError:
        client.close()
        raise
    return OllamaJudge(params, rubric, client, found)


def prompt_problem(size: int, count: Any, params: JudgeParams) -> str | None:
    """Say how the judge can have seen only a part of the prompt; None if it has seen all of it.

    Args:
        size: the prompt's length in bytes, which is at least that in tokens.
        count: ``prompt_eval_count``, the tokens that the server says it read. Some servers do not say it.
        params: for the context, which the prompt and the verdict share.
    """
    room = params.num_ctx - params.num_predict
    remedy = f"(judge.num_ctx {params.num_ctx}, judge.num_predict {params.num_predict})"
    if type(count) is not int:
        return None if size <= room else f"the server does not say whether the prompt of {size} bytes fitted {remedy}"
    if count > room:
        return f"the prompt of {count} tokens leaves no room for a verdict {remedy}"
    if size > MOST_BYTES_A_TOKEN * count:
        return f"the server read {count} tokens of a prompt of {size} bytes: it has cut it {remedy}"
    return None


def _options(params: JudgeParams, repeat: int = 0) -> dict[str, float | int]:
    return {
        "temperature": params.temperature,
        "seed": params.seed + repeat,
        "num_ctx": params.num_ctx,
        "num_predict": params.num_predict,
    }


def _look_up(client: Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    value = _parse(client.call(method, path, body, Deadline(LOOK_UP_SECONDS)))
    return value if isinstance(value, dict) else {}


def _installed(client: Client, model: str) -> dict[str, str]:
    """The server's version, and the model's digest and quantisation: what can change behind one name."""
    version = _look_up(client, "GET", "/api/version").get("version")
    models = _look_up(client, "GET", "/api/tags").get("models")
    if not isinstance(version, str) or not isinstance(models, list):
        raise Fault("what answers there is not Ollama", repeatable=False)
    return _find(models, model, client.url) | {"server_version": version}


def _shown(client: Client, params: JudgeParams) -> dict[str, str]:
    """The hash of the prompt template and the longest context, in the answer of /api/show.

    Raises:
        ConfigError: the context is shorter than judge.num_ctx; the server would shorten it in silence.
    """
    shown = _look_up(client, "POST", "/api/show", {"model": params.model})
    template, info = shown.get("template"), shown.get("model_info")
    lengths = [value for name, value in (info or {}).items() if name.endswith(".context_length") and type(value) is int]
    if lengths and lengths[0] < params.num_ctx:
        raise ConfigError(
            f"judge.num_ctx ({params.num_ctx}) is more than {params.model} takes ({lengths[0]} tokens)",
            f"set judge.num_ctx to {lengths[0]} or less in params.yaml",
        )
    return {
        "template_sha256": hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else "unknown",
        "context_length": str(lengths[0]) if lengths else "unknown",
    }


def _find(models: list[Any], name: str, url: str) -> dict[str, str]:
    """The digest and the quantisation of a model in the answer of /api/tags."""
    wanted = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    there = [model for model in models if isinstance(model, dict)]
    for model in there:
        if wanted in (model.get("name"), model.get("model")):
            details = model.get("details") or {}
            return {"digest": str(model.get("digest")), "quantization": str(details.get("quantization_level"))}
    raise _no_model(url, name, sorted(str(model.get("name")) for model in there))


def _no_model(url: str, name: str, there: Sequence[str] | None = None) -> ConfigError:
    """That the server does not have the model; trying again does not change that."""
    has = "" if there is None else f"; it has {', '.join(there) or 'none'}"
    return ConfigError(f"judge.model: Ollama at {url} has no model {name!r}{has}", f"ollama pull {name}")


def _load(client: Client, params: JudgeParams) -> None:
    """Have the model loaded, with the options with which it will be asked: no messages, no answer."""
    body = {
        "model": params.model,
        "messages": [],
        "stream": False,
        "options": _options(params),
        "keep_alive": KEEP_ALIVE,
    }
    deadline = Deadline(LOAD_SECONDS, silence=LOAD_SECONDS)
    attempt = functools.partial(client.call, "POST", "/api/chat", body, deadline)
    client.repeated(attempt, deadline, retries=params.retries)


def _chat(client: Client, request: dict[str, Any], deadline: Deadline) -> Reply:
    """One attempt: the whole content, and what the stream's last line, whose ``done`` is true, says of it."""
    content: list[str] = []
    logprobs: list[Any] = []
    final: dict[str, Any] | None = None
    for line in client.call("POST", "/api/chat", request, deadline).splitlines():
        if not line.strip():
            continue
        value = _parse(line)
        if not isinstance(value, dict):
            raise Fault(f"not a line of Ollama's protocol: {excerpt(repr(value))}")
        if "error" in value:
            raise Fault(f"error in mid stream: {excerpt(str(value['error']))}")
        message = value.get("message")
        if final is not None or not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise Fault(f"not a line of Ollama's protocol: {excerpt(repr(value))}")
        content.append(message["content"])
        logprobs += value.get("logprobs") or []
        if value.get("done") is True:
            final = value
    if final is None:
        raise Fault(f"the stream ended without done, after {excerpt(''.join(content))!r}")
    counts = final.get("prompt_eval_count"), final.get("eval_count")
    return Reply("".join(content), final.get("done_reason"), *counts, logprobs)


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Fault(f"not JSON: {excerpt(repr(content.decode('utf-8', 'replace')))}") from None


def _unavailable(url: str, model: str, fault: Fault) -> ServiceUnavailable | ConfigError:
    if fault.status == 404 and "model" in str(fault):
        return _no_model(url, model)
    if fault.unreachable:
        return ServiceUnavailable(
            f"no Ollama at {url}: {fault}", f"ollama serve, or {VARIABLE}=host:port where it runs elsewhere"
        )
    return ServiceUnavailable(f"Ollama at {url}: {fault}", f"see what answers there, or set {VARIABLE}")
