"""What judges behind a chat API have in common: one request a judgement, and strict reading of the reply."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from stages.common.errors import ConfigError, PipelineError, ServiceUnavailable
from stages.common.plurals import counted
from stages.common.results.judge import VerdictStatus
from stages.judge.judges import remedies
from stages.judge.judges.deadline import Deadline
from stages.judge.judges.expected import LONGEST, expected_score
from stages.judge.judges.protocol import TRIAL, JudgeChanged, Judgement, Question
from stages.judge.judges.rubric import COMPARING, InvalidVerdict, Rubric, load_rubric
from stages.judge.judges.transport import Client, Fault, excerpt
from stages.judge.judges.usage import Usage
from stages.params.judge import Judge
from stages.running.costs import JudgingCosts

#: Why a reply ended, where the model ended it and where the limit on its length did.
BY_ITSELF, AT_THE_LIMIT = "stop", remedies.AT_THE_LIMIT

#: Version of the reading of replies, by `Rubric.parse`, `expected_score` and `ChatJudge` itself. Raise it with every
#: change after which some reply is another verdict: verdicts in the cache were read in the old way.
READING_VERSION = "2"

#: HTTP statuses of a request that is refused for what is in it. Any other that cannot be repeated ends the judging.
REFUSED = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Reply:
    """A whole reply of a model.

    Attributes:
        content: its text.
        reason: why it ended; "stop" when it ended by itself.
        prompt_tokens: tokens of the prompt that the server read, where it says so.
        reply_tokens: tokens of the reply, where the server says so.
        logprobs: tokens of the reply with their alternatives, where they were asked for and the server gives them.
        seconds: times that the server says it took, by the names in `stages.judge.judges.usage`.
        thought: whether the model has thought before it replied, as far as the server tells that apart.
    """

    content: str
    reason: Any
    prompt_tokens: Any = None
    reply_tokens: Any = None
    logprobs: Sequence[Any] = ()
    seconds: Mapping[str, Any] = field(default_factory=dict)
    thought: bool = False


def scoring_rubric(settings: Judge) -> Rubric:
    """The rubric that params.yaml names.

    Raises:
        ConfigError: there is no such rubric, or its scale is too long for the expected value.
    """
    rubric = load_rubric(settings.rubric)
    if settings.expected_value and rubric.highest > LONGEST:
        raise ConfigError(
            f"judge.expected_value: expected a rubric whose scores are single digits, found {rubric.name}, which goes "
            f"up to {rubric.highest}: the likelihood of 85 is not that of its first token",
            "judge.rubric: levels-v1, or judge.expected_value: false",
        )
    return rubric


class ChatJudge(ABC):
    """Asks one model with one rubric.

    Args:
        settings: the section judge of params.yaml.
        rubric: the rubric, which makes the messages and reads the replies.
        client: connections to the server.
        usage: counter of what each reply took.
        stall: the longest silence of an answer that has begun, in seconds; None where answers come at once as a whole.
    """

    cacheable: ClassVar[bool] = True
    deterministic: ClassVar[bool] = False
    #: What the protocol calls the reason for which a reply ended, and the option that bounds its length.
    REASON: ClassVar[str]
    LIMIT: ClassVar[str]
    #: Whether requests set the context, and not the server: a prompt that was too long then stays too long.
    CONTEXT_IS_OURS: ClassVar[bool]

    def __init__(
        self, settings: Judge, rubric: Rubric, client: Client, usage: Usage, *, stall: float | None = None
    ) -> None:
        self._settings = settings
        self._rubric = rubric
        self._client = client
        self._usage = usage
        self._stall = stall

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """As in `stages.judge.judges.protocol.JudgeBackend`."""

    @abstractmethod
    def _look(self) -> Mapping[str, str]:
        """The parts of `identity` that can change behind the model's name, as the server says them at this moment.

        Raises:
            Fault: it says nothing.
        """

    @abstractmethod
    def _shortened(self, request: dict[str, Any]) -> dict[str, Any]:
        """The same request for one token."""

    @abstractmethod
    def _request(self, question: Question, repeat: int) -> dict[str, Any]:
        """The body of the request."""

    @abstractmethod
    def _ask(self, request: dict[str, Any], deadline: Deadline) -> Reply:
        """One attempt.

        Raises:
            Fault: it brought no whole reply.
        """

    @abstractmethod
    def _unavailable(self, fault: Fault) -> PipelineError:
        """The error that ends the judging, for a fault after which no further request can succeed."""

    def _problem(self, request: dict[str, Any], reply: Reply) -> str | None:  # noqa: ARG002
        """Why a reply is not one to this request; None if it is."""
        if type(reply.reply_tokens) is int and reply.reply_tokens > self._settings.num_predict:
            allowed = self._settings.num_predict
            return f"the server made {counted(reply.reply_tokens, 'token')} and ignored judge.num_predict ({allowed})"
        return None

    def key(self, question: Question, repeat: int = 0) -> str:
        """The hash of the whole request."""
        return hashlib.sha256(json.dumps(self._request(question, repeat), sort_keys=True).encode()).hexdigest()

    def check(self) -> None:
        """As in `stages.judge.judges.protocol.JudgeBackend`: a name such as llama3 can come to mean another model."""
        try:
            now = self._look()
        except Fault as fault:
            raise self._unavailable(fault) from fault
        self._require_same(now)

    def _require_same(self, now: Mapping[str, str]) -> None:
        before = self.identity()
        if changed := [f"{name} {before[name]} is now {now[name]}" for name in now if now[name] != before[name]]:
            raise JudgeChanged(
                f"the judge changed while it judged: {', '.join(changed)}",
                "run the same command again: the new judge then scores all answers",
            )

    def ignored(self) -> str | None:
        """Ask for one token: options are sent together, and a server that does not read them goes on to the end."""
        try:
            reply = self._put(self._shortened(self._request(TRIAL, 0)))
        except Fault as fault:
            if fault.status in REFUSED:  # some models refuse so short a limit, so they have read it
                return None
            raise ServiceUnavailable(
                f"the judge's self-test: no answer: {fault}",
                "see what the judge's server logs, then run the same command again",
            ) from fault
        more = type(reply.reply_tokens) is int and reply.reply_tokens > 1
        if reply.reason == AT_THE_LIMIT and not more:
            return None
        made = f", of {reply.reply_tokens} tokens" if more else ""
        return (
            f"{self.LIMIT}: asked for one token it answered {excerpt(reply.content, 60)!r}{made} "
            f"({self.REASON} {reply.reason!r})"
        )

    def costs(self) -> JudgingCosts | None:
        """As in `stages.judge.judges.protocol.JudgeBackend`, together with those of `comparing`."""
        return self._usage.costs()

    def _put(self, request: dict[str, Any]) -> Reply:
        """Send a request until a reply comes, at most for ``judge.deadline_seconds`` with the waits between.

        Raises:
            Fault: none came.
        """
        began = time.monotonic()
        remedy = remedies.of_lateness(self._settings.parallel)
        deadline = Deadline(self._settings.deadline_seconds, self._stall, remedy=remedy)
        attempt = functools.partial(self._ask, request, deadline)
        reply = self._client.repeated(attempt, deadline, retries=self._settings.retries)
        counts = {"prompt_tokens": reply.prompt_tokens, "reply_tokens": reply.reply_tokens}
        self._usage.add(time.monotonic() - began, counts | dict(reply.seconds))
        return reply

    def judge(self, question: Question, repeat: int = 0) -> Judgement:
        """Ask for one verdict, at most for ``judge.deadline_seconds``."""
        request = self._request(question, repeat)
        try:
            reply = self._put(request)
        except Fault as fault:
            if fault.status in REFUSED:
                # A proxy, a filter or a server that is loading may refuse today what it takes tomorrow.
                status: VerdictStatus = "invalid" if remedies.is_too_long(str(fault)) else "failed"
                said = f"the judge refused the request: {fault}"
                return Judgement(status, None, said, passing=not self.CONTEXT_IS_OURS)
            if fault.unreachable or (fault.status is not None and not fault.repeatable):
                raise self._unavailable(fault) from fault
            return Judgement("failed", None, str(fault))
        return self._read(request, reply)

    def comparing(self) -> Self:
        """As in `stages.judge.judges.protocol.JudgeBackend`: over the same client, and without expected value."""
        other = copy.copy(self)
        other._rubric = load_rubric(COMPARING, comparing=True)
        other._settings = self._settings.model_copy(update={"expected_value": False})
        return other

    def close(self) -> None:
        """End every call that is under way."""
        self._client.close()

    def _read(self, request: dict[str, Any], reply: Reply) -> Judgement:
        said = f"found {excerpt(reply.content)!r}"
        if reply.reason != BY_ITSELF:
            thought = f"; {remedies.THOUGHT}" if reply.thought else ""
            return Judgement("invalid", None, f"{remedies.NO_END} ({self.REASON} {reply.reason!r}){thought}; {said}")
        if problem := self._problem(request, reply):
            return Judgement("invalid", None, problem)
        if not _is_unicode(reply.content):  # which no file and no other program takes
            return Judgement("invalid", None, f"half of a surrogate pair, which is no text; {said}")
        try:
            score: float = self._rubric.parse(reply.content)
            if self._settings.expected_value:
                score = expected_score(reply.logprobs, int(score), self._rubric)
        except InvalidVerdict as problem:
            return Judgement("invalid", None, f"{problem}; {said}")
        return Judgement("scored", round(self._rubric.percent(score), 2), excerpt(reply.content))


def _is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON may hold half of a surrogate pair, and Python's reader takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
