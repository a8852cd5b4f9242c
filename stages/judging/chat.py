"""What judges behind a chat API have in common: one request a judgement, and strict reading of the reply."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from stages.common.errors import PipelineError
from stages.common.params import Judge as JudgeParams
from stages.judging.deadline import Deadline
from stages.judging.expected import expected_score
from stages.judging.judge import Judgement, Question
from stages.judging.rubric import COMPARING, InvalidVerdict, Rubric, load_rubric
from stages.judging.transport import Client, Fault, excerpt

#: Statuses that concern one request and not its like. Any other that cannot be repeated ends the judging.
REFUSED = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Reply:
    """A whole reply of a model.

    Attributes:
        content: what it says.
        reason: why it ended; "stop" when it ended by itself.
        prompt_tokens: how many tokens of the prompt the server read, where it says so.
        reply_tokens: how many tokens it made, where it says so.
        logprobs: the reply's tokens with their alternatives, where they were asked for and the server gives them.
    """

    content: str
    reason: Any
    prompt_tokens: Any = None
    reply_tokens: Any = None
    logprobs: Sequence[Any] = ()


class ChatJudge(ABC):
    """Asks one model with one rubric."""

    def __init__(self, params: JudgeParams, rubric: Rubric, client: Client) -> None:
        self._params = params
        self._rubric = rubric
        self._client = client

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """As in `stages.judging.judge.Judge`."""

    @abstractmethod
    def check(self) -> None:
        """As in `stages.judging.judge.Judge`."""

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
        if type(reply.reply_tokens) is int and reply.reply_tokens > self._params.num_predict:
            allowed = self._params.num_predict
            return f"the server made {reply.reply_tokens} tokens and ignored judge.num_predict ({allowed})"
        return None

    def key(self, question: Question, repeat: int = 0) -> str:
        """The hash of the whole request."""
        return hashlib.sha256(json.dumps(self._request(question, repeat), sort_keys=True).encode()).hexdigest()

    def judge(self, question: Question, repeat: int = 0) -> Judgement:
        """Ask for one verdict, at most for ``judge.deadline_seconds`` with all attempts and the waits between."""
        request = self._request(question, repeat)
        deadline = Deadline(self._params.deadline_seconds)
        attempt = functools.partial(self._ask, request, deadline)
        try:
            reply = self._client.repeated(attempt, deadline, retries=self._params.retries)
        except Fault as fault:
            if fault.status in REFUSED:
                return Judgement("invalid", None, f"the judge refused the request: {fault}")
            if fault.unreachable or (fault.status is not None and not fault.repeatable):
                raise self._unavailable(fault) from fault
            return Judgement("failed", None, str(fault))
        return self._read(request, reply)

    def comparing(self) -> Self:
        """As in `stages.judging.judge.Judge`: over the same client, with the verdict as the model says it."""
        other = copy.copy(self)
        other._rubric = load_rubric(COMPARING, comparing=True)
        other._params = self._params.model_copy(update={"expected_value": False})
        return other

    def close(self) -> None:
        """End every call that is under way."""
        self._client.close()

    def _read(self, request: dict[str, Any], reply: Reply) -> Judgement:
        said = f"found {excerpt(reply.content)!r}"
        if reply.reason != "stop":
            return Judgement(
                "invalid", None, f"the verdict did not end by itself (done_reason {reply.reason!r}); {said}"
            )
        if problem := self._problem(request, reply):
            return Judgement("invalid", None, problem)
        try:
            score: float = self._rubric.parse(reply.content)
            if self._params.expected_value:
                score = expected_score(reply.logprobs, int(score), self._rubric)
        except InvalidVerdict as problem:
            return Judgement("invalid", None, f"{problem}; {said}")
        return Judgement("scored", round(self._rubric.percent(score), 2), excerpt(reply.content))
