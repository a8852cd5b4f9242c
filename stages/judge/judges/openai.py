"""A language model behind any server that speaks OpenAI's protocol (vLLM, llama.cpp, OpenAI) as judge.

POST {OPENAI_BASE_URL}/chat/completions, with the key in OPENAI_API_KEY where the server wants one. The key is in no
file, message or identity. Such servers refuse a prompt that is too long, and say no digest: what /models says of the
model, and the ``model`` and ``system_fingerprint`` of every reply, have to tell it from another. A name such as gpt-4o
is in the replies one with a date; OpenAI itself answers from several configurations at a time, where the date must do.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stages.common import secrecy
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.judge.judges.api_key import api_key
from stages.judge.judges.chat_judge import READING_VERSION, REFUSED, ChatJudge, Reply, scoring_rubric
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.expected import TOP
from stages.judge.judges.protocol import TRIAL, Question
from stages.judge.judges.remedies import of_lateness
from stages.judge.judges.rubric import Rubric
from stages.judge.judges.transport import (
    FIRST_WAIT,
    LOOK_UP_SECONDS,
    Client,
    Fault,
    NotRunning,
    as_object,
    excerpt,
    parse,
)
from stages.judge.judges.usage import Usage
from stages.params.judge import Judge

URL, KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
DEFAULT_URL = "https://api.openai.com/v1"
#: What bounds a reply's length, and what newer models of OpenAI ask for in its place.
MAX_TOKENS, NEWER_MAX_TOKENS = "max_tokens", "max_completion_tokens"
#: What /models says of a model that differs from call to call or from day to day.
_PASSING = frozenset({"created", "permission"})
#: Models that a message lists.
_LISTED = 10
#: Hosts of services that answer from several configurations at a time, each with its own ``system_fingerprint``: what
#: tells their models apart is the model's name in the replies, which has a date.
_SEVERAL = re.compile(r"(^|\.)(openai\.com|openai\.azure\.com)$")


class OpenAIJudge(ChatJudge):
    """Asks one model with one rubric; made by `open_openai_judge`."""

    REASON, LIMIT = "finish_reason", MAX_TOKENS
    CONTEXT_IS_OURS = False

    def __init__(
        self, settings: Judge, rubric: Rubric, client: Client, served: str, *, look_up: float = LOOK_UP_SECONDS
    ) -> None:
        super().__init__(settings, rubric, client, Usage())
        self._served = served
        self._look_up = look_up
        self._limit = MAX_TOKENS
        self._replying: dict[str, str] = {}

    def identity(self) -> dict[str, str]:
        """The model by its name and what the server says of it, the rubric by its hash, options, and the reading."""
        return {
            "backend": "openai",
            "reading_version": READING_VERSION,
            "model": self._settings.model,
            "served_sha256": self._served,
            **self._replying,
            "rubric": self._rubric.name,
            "rubric_sha256": self._rubric.sha256,
            "options": json.dumps(self._options(), sort_keys=True),
            "score": "expected value" if self._settings.expected_value else "as said",
        }

    def introduce(self) -> None:
        """Ask a first question, whose answer says who replies and whether the request is one that the server takes.

        Raises:
            ServiceUnavailable: there is no answer.
            ConfigError: the server refuses the request.
        """
        for limit in (MAX_TOKENS, NEWER_MAX_TOKENS):
            self._limit = limit
            deadline = Deadline(self._settings.deadline_seconds, remedy=of_lateness(1))
            ask = functools.partial(self._complete, self._request(TRIAL, 0), deadline)
            try:
                self._replying = self._said_by(self._client.repeated(ask, deadline, retries=self._settings.retries))
                return
            except Fault as fault:
                if fault.status not in REFUSED:
                    raise self._unavailable(fault) from fault
                if limit == NEWER_MAX_TOKENS or NEWER_MAX_TOKENS not in str(fault):
                    raise ConfigError(
                        f"{self._client.url} refuses the judge's request: {fault}", "correct judge in params.yaml"
                    ) from fault

    def _look(self) -> Mapping[str, str]:
        deadline = Deadline(self._look_up)
        attempt = functools.partial(served, self._client, self._settings.model, deadline)
        return {"served_sha256": self._client.repeated(attempt, deadline, retries=self._settings.retries)}

    def _shortened(self, request: dict[str, Any]) -> dict[str, Any]:
        return request | {self._limit: 1}

    def _options(self, repeat: int = 0) -> dict[str, float | int]:
        settings = self._settings
        return {"temperature": settings.temperature, "seed": settings.seed + repeat, self._limit: settings.num_predict}

    def _request(self, question: Question, repeat: int) -> dict[str, Any]:
        schema = self._rubric.schema()
        wanted = {"name": "verdict", "strict": True, "schema": schema}
        return {
            "model": self._settings.model,
            "messages": self._rubric.messages(question),
            **self._options(repeat),
            **({"response_format": {"type": "json_schema", "json_schema": wanted}} if schema else {}),
            **({"logprobs": True, "top_logprobs": TOP} if self._settings.expected_value else {}),
        }

    def _complete(self, request: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        value = parse(self._client.call("POST", "/chat/completions", request, deadline))
        if not isinstance(value, dict):
            raise _strange(value)
        return value

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        value = self._complete(request, deadline)
        try:
            [choice] = value["choices"]
            content, reason = choice["message"]["content"], choice["finish_reason"]
            tokens = as_object(choice.get("logprobs")).get("content") or []
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _strange(value) from None
        if not isinstance(content, str | None) or not isinstance(tokens, list):
            raise _strange(value)
        self._require_same(self._said_by(value))
        usage = as_object(value.get("usage"))
        return Reply(content or "", reason, usage.get("prompt_tokens"), usage.get("completion_tokens"), tokens)

    def _said_by(self, value: Mapping[str, Any]) -> dict[str, str]:
        """Who gave a reply, as it says."""
        named = {"replying_model": value.get("model")}
        if not _SEVERAL.search(urlsplit(self._client.url).hostname or ""):
            named["system_fingerprint"] = value.get("system_fingerprint")
        return {name: said if isinstance(said, str) else "unknown" for name, said in named.items()}

    def _unavailable(self, fault: Fault) -> ServiceUnavailable | ConfigError:
        return unavailable(self._client.url, self._settings.model, fault)


def open_openai_judge(
    settings: Judge, *, first_wait: float = FIRST_WAIT, look_up: float = LOOK_UP_SECONDS
) -> OpenAIJudge:
    """Find the server and the model, and ask it a first question, before anything is judged.

    Args:
        settings: the model, the rubric and the options. ``num_ctx`` is not used: such servers set the context.
        first_wait: seconds before a failed call is repeated for the first time.
        look_up: the longest time for the server to say its models, in seconds.

    Raises:
        ServiceUnavailable: nobody answers at OPENAI_BASE_URL, or not in this protocol.
        ConfigError: OPENAI_BASE_URL is no address, the key is none, is refused, or would go unencrypted to another
            machine, the server does not have the model or does not take the request, or there is no such rubric.
    """
    rubric = scoring_rubric(settings)
    client = connect(settings, first_wait=first_wait)
    deadline = Deadline(look_up)
    try:
        said = client.repeated(
            functools.partial(served, client, settings.model, deadline), deadline, retries=settings.retries
        )
        judge = OpenAIJudge(settings, rubric, client, said, look_up=look_up)
        judge.introduce()
    except Fault as fault:
        client.close()
        raise unavailable(client.url, settings.model, fault) from fault
    except (ConfigError, ServiceUnavailable):
        client.close()
        raise
    return judge


def connect(settings: Judge, *, first_wait: float = FIRST_WAIT) -> Client:
    """A client of the server that OPENAI_BASE_URL names, with the key; nothing is asked yet.

    Raises:
        ConfigError: OPENAI_BASE_URL is no address, or the key is none, is missing, or would go unencrypted to another
            machine.
    """
    url, key = _url(), api_key(KEY)
    if key is not None:
        fix = f"set {URL} to an https:// address; or unset {KEY}, if that server needs none"
        secrecy.require(url, f"the key in {KEY}", named_by=URL, fix=fix)
    elif _SEVERAL.search(urlsplit(url).hostname or ""):
        raise ConfigError(f"{KEY}: not set, and {url} answers nobody without a key", f"export {KEY}=...")
    return Client(url, connections=settings.parallel, first_wait=first_wait, key=key)


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


def served(client: Client, model: str, deadline: Deadline) -> str:
    """The hash of what /models says of the model, without what passes."""
    entries = as_object(parse(client.call("GET", "/models", None, deadline))).get("data")
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


def _strange(value: Any) -> Fault:
    return Fault(f"not an answer of OpenAI's protocol: {excerpt(repr(value))}")


def unavailable(url: str, model: str, fault: Fault) -> ServiceUnavailable | ConfigError:
    """The error for a call that brought no answer."""
    if fault.status in (401, 403):
        refuses = f"refuses the key in {KEY}" if api_key(KEY) else f"wants a key, and {KEY} is not set"
        return ConfigError(f"{url} {refuses}: {fault}", f"export {KEY}=...")
    if fault.status == 404 and "model" in str(fault):
        return ConfigError(f"judge.model: {url} has no model {model!r}: {fault}", "correct judge.model in params.yaml")
    kind, fix = ServiceUnavailable, f"see what answers there, or set {URL}"
    if fault.absent:
        kind, fix = NotRunning, f"start it, or set {URL} to where it runs"
    return kind(f"no OpenAI-compatible server at {url}: {fault}", fix)
