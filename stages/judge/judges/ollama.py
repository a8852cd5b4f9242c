"""A language model behind Ollama as judge, by POST /api/chat. It allows for measured behaviour of the server:

- Unknown keys at the top of a request are ignored in silence: what steers sampling is in ``options``.
- A prompt that is too long is cut in its middle in silence, unless ``truncate`` is false; old servers ignore that. What
  is left is half of ``num_ctx`` or a little more (130 of 256), or all of it.
- A fault in mid stream comes as a line {"error": ...} under status 200, or as an end without ``done``.
- No byte is sent until the model is loaded and has read the prompt; other options than before load it again.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from typing import Any

from stages.common import secrecy
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.plurals import word
from stages.judge.judges.address import VARIABLE, ollama_url
from stages.judge.judges.api_key import api_key
from stages.judge.judges.chat_judge import READING_VERSION, ChatJudge, Reply, scoring_rubric
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.expected import TOP
from stages.judge.judges.ollama_model import (
    KEEP_ALIVE,
    Model,
    installed,
    no_model,
    prepare,
    sampling_options,
    think_of,
)
from stages.judge.judges.protocol import Question
from stages.judge.judges.remedies import NO_ROOM
from stages.judge.judges.rubric import Rubric
from stages.judge.judges.transport import (
    FIRST_WAIT,
    LOOK_UP_SECONDS,
    STALL_SECONDS,
    Client,
    Fault,
    NotRunning,
    excerpt,
    parse,
)
from stages.judge.judges.usage import Usage
from stages.params.judge import Judge
from stages.running.console import say

#: The variable with the key of a server that wants one, as ollama.com does; Ollama itself reads no key.
KEY = "OLLAMA_API_KEY"
#: The counts of a reply's last line, in nanoseconds, by the names in `stages.judge.judges.usage`.
_DURATIONS = {
    "load_seconds": "load_duration",
    "prompt_seconds": "prompt_eval_duration",
    "reply_seconds": "eval_duration",
}


class OllamaJudge(ChatJudge):
    """Asks one model with one rubric; made by `open_ollama_judge`."""

    REASON, LIMIT = "done_reason", "num_predict"
    CONTEXT_IS_OURS = True

    def __init__(
        self,
        settings: Judge,
        rubric: Rubric,
        client: Client,
        model: Model,
        *,
        look_up: float = LOOK_UP_SECONDS,
        stall: float | None = STALL_SECONDS,
    ) -> None:
        super().__init__(settings, rubric, client, Usage(model.running), stall=stall)
        self._model = model
        self._look_up = look_up
        self._told = threading.Event()

    def identity(self) -> dict[str, str]:
        """The model by its digest, its template, the server's version, the rubric's hash, the options, and the reading.

        Where long prompts are cut, verdicts on them are invalid, and the cache keeps these.
        """
        return {
            "backend": "ollama",
            "reading_version": READING_VERSION,
            "model": self._settings.model,
            **self._model.installed,
            **self._model.shown,
            "rubric": self._rubric.name,
            "rubric_sha256": self._rubric.sha256,
            "options": json.dumps(sampling_options(self._settings), sort_keys=True),
            "think": json.dumps(self._settings.think if self._model.thinks else None),
            "score": "expected value" if self._settings.expected_value else "as said",
            "long_prompts": "refused" if self._model.refuses else "cut",
        }

    def _look(self) -> Mapping[str, str]:
        deadline = Deadline(self._look_up)
        attempt = functools.partial(installed, self._client, self._settings, deadline)
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
            **think_of(self._model, self._settings),
            "options": sampling_options(self._settings, repeat),
            "truncate": False,
            "keep_alive": KEEP_ALIVE,
            **logprobs,
        }

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        reply = _chat(self._client, request, deadline)
        if reply.thought and request.get("think") is False and not self._told.is_set():
            self._told.set()
            say(
                f"{self._settings.model} thinks in spite of judge.think: false, and its thinking counts in "
                f"judge.num_predict; set judge.think to low, medium or high if the model takes these"
            )
        return reply

    def _problem(self, request: dict[str, Any], reply: Reply) -> str | None:
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in request["messages"])
        return super()._problem(request, reply) or prompt_problem(
            size, reply.prompt_tokens, self._settings, refuses=self._model.refuses
        )

    def _unavailable(self, fault: Fault) -> ServiceUnavailable | ConfigError:
        return unavailable(self._client.url, self._settings.model, fault)


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
        look_up: longest time for the server to say its version and its models, in seconds.
        stall: longest silence of a verdict that has begun, in seconds.

    Raises:
        ServiceUnavailable: nobody answers at OLLAMA_HOST, it is not Ollama, or it does not load the model.
        ConfigError: OLLAMA_HOST is no address, the key is none, is refused, or would go unencrypted to another machine,
            the server does not have the model, or not of the digest that is pinned, the model takes less context than
            judge.num_ctx or another judge.think, or there is no such rubric.
    """
    rubric = scoring_rubric(settings)
    client = connect(settings.parallel, first_wait=first_wait)
    try:
        model = prepare(client, settings, look_up)
    except Fault as fault:
        client.close()
        raise unavailable(client.url, settings.model, fault) from fault
    except ConfigError:
        client.close()
        raise
    return OllamaJudge(settings, rubric, client, model, look_up=look_up, stall=stall)


def connect(connections: int, *, first_wait: float = FIRST_WAIT) -> Client:
    """A client of the server that OLLAMA_HOST names, with the key in OLLAMA_API_KEY if there is one.

    Raises:
        ConfigError: OLLAMA_HOST is no address, or the key is none or would go unencrypted to another machine.
    """
    url, key = ollama_url(), api_key(KEY)
    if key is not None:
        fix = f"set {VARIABLE} to an https:// address; or unset {KEY}, if that server needs none"
        secrecy.require(url, f"the key in {KEY}", named_by=VARIABLE, fix=fix)
    return Client(url, connections=connections, first_wait=first_wait, key=key)


def prompt_problem(size: int, count: Any, settings: Judge, *, refuses: bool) -> str | None:
    """How the judge may have seen only a part of the prompt, in words; None if it has seen all of it.

    Args:
        size: length of the prompt in bytes, which is at least its length in tokens.
        count: ``prompt_eval_count``, the tokens that the server says it read. Some servers do not say it.
        settings: settings with the context, which the prompt and the verdict share.
        refuses: whether the server refuses prompts that are too long.
    """
    room = settings.num_ctx - settings.num_predict
    remedy = f"(judge.num_ctx {settings.num_ctx}, judge.num_predict {settings.num_predict})"
    if type(count) is int and count > room:
        return f"the prompt of {count} {word(count, 'token')} {NO_ROOM} {remedy}"
    if refuses or size <= room:
        return None
    if type(count) is not int:
        return f"the server does not say whether the prompt of {size} bytes fitted {remedy}"
    if count >= settings.num_ctx // 2:  # no cut leaves fewer
        return (
            f"the server read {count} {word(count, 'token')} of a prompt of {size} bytes, and cuts prompts that are "
            f"too long in silence: it may have cut this one; a newer Ollama refuses them {remedy}"
        )
    return None


def _chat(client: Client, request: dict[str, Any], deadline: Deadline) -> Reply:
    """One attempt: the whole content, and what the stream's last line, whose ``done`` is true, says of it."""
    content: list[str] = []
    thought = False
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
        thought = thought or bool(message.get("thinking"))
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
    return Reply("".join(content), final.get("done_reason"), *counts, logprobs, seconds, thought)


def unavailable(url: str, model: str, fault: Fault) -> ServiceUnavailable | ConfigError:
    """The error for a call that brought no answer, with the command that starts what is missing."""
    if fault.status in (401, 403):
        refuses = f"refuses the key in {KEY}" if api_key(KEY) else f"wants a key, and {KEY} is not set"
        return ConfigError(
            f"Ollama at {url} {refuses}: {fault}",
            f"export {KEY}=..., or ollama signin on that machine where the model is one of ollama.com",
        )
    if fault.status == 404 and "model" in str(fault):
        return no_model(url, model)
    if fault.unreachable:
        kind = NotRunning if fault.absent else ServiceUnavailable
        return kind(f"no Ollama at {url}: {fault}", f"ollama serve, or {VARIABLE}=host:port where it runs elsewhere")
    return ServiceUnavailable(f"Ollama at {url}: {fault}", f"see what answers there, or set {VARIABLE}")
