"""A language model behind any server that speaks OpenAI's protocol (vLLM, llama.cpp, OpenAI) as judge.

POST {OPENAI_BASE_URL}/chat/completions, with the key in OPENAI_API_KEY where the server wants one. The key is in no
file, message or identity. Such servers refuse a prompt that is too long, and say no digest: what /models says of the
model has to tell it from another.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from typing import Any
from urllib.parse import urlsplit

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.params import Judge as JudgeParams
from stages.judging.chat import ChatJudge, Reply
from stages.judging.deadline import Deadline
from stages.judging.expected import TOP
from stages.judging.judge import JudgeChanged, Question
from stages.judging.rubric import Rubric, load_rubric
from stages.judging.transport import FIRST_WAIT, Client, Fault, excerpt

URL, KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
DEFAULT_URL = "https://api.openai.com/v1"
LOOK_UP_SECONDS = 30.0
#: What /models says of a model that differs from call to call or from day to day.
_PASSING = frozenset({"created", "permission"})
#: Models that a message lists.
_LISTED = 10


class OpenAIJudge(ChatJudge):
    """Asks one model with one rubric; made by `open_openai_judge`."""

    def __init__(self, params: JudgeParams, rubric: Rubric, client: Client, served: str) -> None:
        super().__init__(params, rubric, client)
        self._served = served

    def identity(self) -> dict[str, str]:
        """The model by its name and what the server says of it, the rubric by its hash, and the options."""
        options = {name: _settings(self._params)[name] for name in ("temperature", "seed", "max_tokens")}
        return {
            "backend": "openai",
            "model": self._params.model,
            "served_sha256": self._served,
            "rubric": self._rubric.name,
            "rubric_sha256": self._rubric.sha256,
            "options": json.dumps(options, sort_keys=True),
            "score": "expected value" if self._params.expected_value else "as said",
        }

    def check(self) -> None:
        """Ask for the model's entry again."""
        deadline = Deadline(LOOK_UP_SECONDS)
        attempt = functools.partial(_served, self._client, self._params.model, deadline)
        try:
            now = self._client.repeated(attempt, deadline, retries=self._params.retries)
        except Fault as fault:
            raise self._unavailable(fault) from fault
        if now != self._served:
            raise JudgeChanged(
                f"the judge changed while it judged: the server says other things of {self._params.model} now",
                "run the same command again: the new judge then scores all answers",
            )

    def _request(self, question: Question, repeat: int) -> dict[str, Any]:
        schema = self._rubric.schema()
        wanted = {"name": "verdict", "strict": True, "schema": schema}
        return {
            "model": self._params.model,
            "messages": self._rubric.messages(question),
            **_settings(self._params, repeat),
            **({"response_format": {"type": "json_schema", "json_schema": wanted}} if schema else {}),
            **({"logprobs": True, "top_logprobs": TOP} if self._params.expected_value else {}),
        }

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        value = _parse(self._client.call("POST", "/chat/completions", request, deadline))
        try:
            [choice] = value["choices"]
            content, reason = choice["message"]["content"], choice["finish_reason"]
            usage, logprobs = value.get("usage") or {}, choice.get("logprobs") or {}
            counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
            tokens = logprobs.get("content") or []
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Fault(f"not an answer of OpenAI's protocol: {excerpt(repr(value))}") from None
        if content is not None and not isinstance(content, str):
            raise Fault(f"not an answer of OpenAI's protocol: {excerpt(repr(value))}")
        return Reply(content or "", reason, *counts, tokens)

    def _unavailable(self, fault: Fault) -> ServiceUnavailable | ConfigError:
        return _unavailable(self._client.url, self._params.model, fault)


def open_openai_judge(params: JudgeParams, *, first_wait: float = FIRST_WAIT) -> OpenAIJudge:
    """Find the server and the model before anything is judged.

    Args:
        params: the model, the rubric and the options. Such servers set the context themselves: ``num_ctx`` is not used.
        first_wait: seconds before a failed call is repeated for the first time.

    Raises:
        ServiceUnavailable: nobody answers at OPENAI_BASE_URL, or not in this protocol.
        ConfigError: OPENAI_BASE_URL is no address, the key is refused, the server does not have the model, or there is
            no such rubric.
    """
    rubric = load_rubric(params.rubric)
    key = os.environ.get(KEY, "").strip() or None
    client = Client(_url(), connections=params.parallel, first_wait=first_wait, key=key)
    deadline = Deadline(LOOK_UP_SECONDS)
    try:
        served = client.repeated(
            functools.partial(_served, client, params.model, deadline), deadline, retries=params.retries
        )
    except Fault as fault:
        client.close()
        raise _unavailable(client.url, params.model, fault) from fault
    except ConfigError:
        client.close()
        raise
    return OpenAIJudge(params, rubric, client, served)


def _url() -> str:
    value = os.environ.get(URL, "").strip() or DEFAULT_URL
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        whole = whole and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole:
        # The value is not shown: what is wrong with it may be a password.
        raise ConfigError(f"{URL}: expected http(s)://host[:port][/path]", f"export {URL}=http://127.0.0.1:8000/v1")
    return value.rstrip("/")


def _settings(params: JudgeParams, repeat: int = 0) -> dict[str, float | int]:
    return {"temperature": params.temperature, "seed": params.seed + repeat, "max_tokens": params.num_predict}


def _served(client: Client, model: str, deadline: Deadline) -> str:
    """The hash of what /models says of the model, without what passes."""
    value = _parse(client.call("GET", "/models", None, deadline))
    entries = value.get("data") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise Fault("what answers there does not speak OpenAI's protocol", repeatable=False)
    there = {str(entry.get("id")): entry for entry in entries if isinstance(entry, dict)}
    if model not in there:
        rest = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
        has = ", ".join(sorted(there)[:_LISTED]) + rest
        raise ConfigError(
            f"judge.model: {client.url} has no model {model!r}; it has {has or 'none'}", "judge.model: NAME"
        )
    entry = {name: said for name, said in there[model].items() if name not in _PASSING}
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Fault(f"not JSON: {excerpt(repr(content.decode('utf-8', 'replace')))}") from None


def _unavailable(url: str, model: str, fault: Fault) -> ServiceUnavailable | ConfigError:
    if fault.status in (401, 403):
        return ConfigError(f"{url} refuses the key in {KEY}: {fault}", f"export {KEY}=...")
    if fault.status == 404 and "model" in str(fault):
        return ConfigError(f"judge.model: {url} has no model {model!r}: {fault}", "correct judge.model in params.yaml")
    return ServiceUnavailable(f"no OpenAI-compatible server at {url}: {fault}", f"see what answers there, or set {URL}")
