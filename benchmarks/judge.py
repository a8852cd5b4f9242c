"""How little of a judge's time we waste: our client and the book's against one server of a known speed.

`python -m benchmarks.judge --items 1000 --slots 4 --service 0.25` starts a server on loopback, in a process of its own,
that speaks as much of Ollama's protocol as both clients need. It holds every verdict for a fixed time, works on as many
at a time as it has slots, and counts for how long they were taken. Each contender runs in a process of its own, one
after the other. (Llama 3 8B takes 0.8 seconds a verdict: the book's own run has 5,200 verdicts in 68 minutes.)

The book's client (`generate_model_scores` of llms-from-scratch, chapter 7) keeps its prompt and options, and gets this
server's address. It sends one request after the other, each on a new connection.

Ours has limits (`LEAST_BUSY`, `MOST_CPU_MS`, `most_growth`): a figure beyond one ends the benchmark with exit code 1.
`--items 100000 --service 0 --contenders ours` is for the memory; slots cannot be busy then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import queue
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import psutil

from benchmarks.report import head, line
from stages.common.errors import PipelineError
from stages.common.files import write_json
from stages.judge.cache import VerdictCache
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.protocol import Question
from stages.judge.panel import Asking, judge_each
from stages.params.judge import Judge
from stages.running import program

MODEL = "llama3"
CONTENDERS = ("ours", "book")
#: Limits of ours: the least share of time in which the slots are taken, and the most CPU time a verdict.
LEAST_BUSY, MOST_CPU_MS = 0.95, 3.0
#: How much resident memory may grow while it judges: by the threads and their connections, and by the cache's index.
FIXED_BYTES, BYTES_AN_ITEM = 16 << 20, 200
#: The longest time for one contender beyond what the server takes for its verdicts one after the other, in seconds.
SPARE_SECONDS = 600.0

if TYPE_CHECKING:
    Port: TypeAlias = multiprocessing.Queue[int]
    Results: TypeAlias = "multiprocessing.Queue[Contended]"


@dataclass(frozen=True)
class Served:
    """What the server counts.

    Args:
        served: verdicts.
        span: seconds from the first verdict to the last.
        taken: seconds that slots were taken, summed over the slots.
    """

    served: int
    span: float
    taken: float


@dataclass(frozen=True)
class Contended:
    """What a contender's process reports.

    Args:
        scored: verdicts with a score.
        seconds: time for all verdicts.
        cpu: CPU seconds of the process, its imports not counted.
        growth: bytes by which its resident memory grew.
    """

    scored: int
    seconds: float
    cpu: float
    growth: int


@dataclass(frozen=True)
class Row:
    """A row of the table: one contender's figures, with the units in their names."""

    contender: str
    items: int
    scored: int
    seconds: float
    slots_busy: float
    cpu_ms_per_verdict: float
    memory_growth_mib: float


@dataclass
class Slots:
    """The server's slots, and for how long they were taken between the first verdict and the last, in seconds."""

    service: float
    free: asyncio.Semaphore
    taken: float = 0.0
    served: int = 0
    first: float = 0.0
    last: float = 0.0

    async def verdict(self) -> None:
        """Wait for a slot, and hold it for the service time."""
        async with self.free:
            begin = time.monotonic()
            self.first = self.first or begin
            await asyncio.sleep(self.service)
            self.last = time.monotonic()
            self.taken += self.last - begin
            self.served += 1

    def counted(self) -> Served:
        """What was counted since the last call."""
        found = Served(self.served, self.last - self.first, self.taken)
        self.served = 0
        self.taken = self.first = self.last = 0.0
        return found


async def answer(path: str, body: dict[str, Any], slots: Slots) -> Any:
    """The server's reply to one request."""
    if path == "/api/version":
        return {"version": "0.32.15"}
    if path == "/api/tags":
        details = {"quantization_level": "Q4_0"}
        return {"models": [{"name": f"{MODEL}:latest", "digest": "0" * 64, "details": details}]}
    if path == "/api/show":
        return {"template": "{{ .Prompt }}", "model_info": {"llama.context_length": 8192}}
    if path == "/api/ps":
        return {"models": []}
    if path == "/stats":
        return asdict(slots.counted())
    done: dict[str, Any] = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "load"}
    if body["messages"] and body["options"].get("num_predict") == 1:  # the client tries whether replies end there
        done = {"message": {"content": "{"}, "done": True, "done_reason": "length", "eval_count": 1}
    elif body["messages"]:
        await slots.verdict()
        content = '{"score": 85}' if "format" in body else "85"
        done = {"message": {"content": content}, "done": True, "done_reason": "stop", "prompt_eval_count": 300}
    return done


async def serve(count: int, service: float, ready: Port) -> None:
    """Serve until the process is ended."""
    slots = Slots(service, asyncio.Semaphore(count))

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-l")]
                body = await reader.readexactly(int(length[0])) if length else b"{}"
                value = json.dumps(await answer(head.split(" ")[1], json.loads(body), slots)).encode() + b"\n"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(value), value))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    ready.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def run_server(count: int, service: float, ready: Port) -> None:
    """The server's process."""
    asyncio.run(serve(count, service, ready))


@contextlib.contextmanager
def server(count: int, service: float) -> Iterator[str]:
    """Run a server in a process of its own for the length of the block.

    Yields:
        Its address.
    """
    context = multiprocessing.get_context("spawn")
    ready: Port = context.Queue()
    process = context.Process(target=run_server, args=(count, service, ready), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{_port(process, ready)}"
    finally:
        process.terminate()
        process.join()


def _port(process: BaseProcess, ready: Port) -> int:
    """The port that the server says, however long a busy machine takes to start it.

    Raises:
        PipelineError: its process has ended.
    """
    while True:
        alive = process.is_alive()
        with contextlib.suppress(queue.Empty):
            return ready.get(timeout=0.5)
        if not alive:
            raise PipelineError(f"the server ended with {process.exitcode}", "see its output above")


def questions(count: int) -> list[Question]:
    """``count`` different answers to be judged; the prompts with them are as long as the book's."""
    text = "The capital of the country is a large town on the river, and it has been so for a long time. " * 3
    return [Question(f"r{n}", "tuned", "Name the capital.", "", text, f"{text}{n}") for n in range(count)]


class Memory:
    """The most by which the process's resident memory grows from `start` on, measured about a hundred times."""

    def __init__(self, items: int) -> None:
        self._step, self._done = max(1, items // 100), 0
        self._process = psutil.Process()
        self._first = self.most = 0

    def start(self, total: int = 0) -> None:  # noqa: ARG002 the step is that of all items
        """Everything that is not of judging is there now: imports, questions, a loaded model."""
        self._first = self.most = self._process.memory_info().rss

    def known(self, count: int) -> None:
        """So many items need not be asked for."""
        self.made(count)

    def made(self, count: int) -> None:
        """So many more items are done."""
        self._done += count
        if self._done % self._step == 0:
            self.most = max(self.most, self._process.memory_info().rss)

    @property
    def growth(self) -> int:
        """The growth in bytes."""
        return self.most - self._first


def most_growth(items: int) -> int:
    """The bytes by which ours may grow."""
    return FIXED_BYTES + BYTES_AN_ITEM * items


def ours(url: str, items: int, slots: int, memory: Memory) -> int:
    """Our client, with its cache on disk; the number of scores."""
    os.environ["OLLAMA_HOST"] = url
    values: dict[str, Any] = {
        "backend": "ollama", "model": MODEL, "rubric": "graded-v1", "temperature": 0.0, "seed": 123, "num_ctx": 2048,
        "num_predict": 64, "repeats": 1, "expected_value": False, "exact_match": "ask", "deadline_seconds": 120.0,
        "retries": 4, "parallel": slots, "min_separation": 0.0, "max_invalid": 0.0, "bootstrap_resamples": 100,
        "calibration": None, "mode": "score", "digest": None, "think": False, "on_refusal": "stop",
        "panel": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, VerdictCache(Path(folder, "verdicts.jsonl")) as cache:
        judge = open_ollama_judge(Judge.model_validate(values))
        asked = questions(items)
        memory.start()
        found = judge_each(judge, asked, Asking(slots, cache=cache), memory)
        scored = sum(verdict.score is not None for verdict in found)
        judge.close()
    return scored


def book(url: str, items: int, slots: int, memory: Memory) -> int:  # noqa: ARG001 it sends one at a time
    """The book's client; the number of scores."""
    # Here, as the book's package need not be installed for ours.
    from llms_from_scratch import ch07

    ask = ch07.query_model

    def asked(prompt: str, model: str) -> str:
        said: str = ask(prompt, model, url=f"{url}/api/chat")  # its own address is fixed
        memory.made(1)
        return said

    ch07.query_model = asked
    rows = [{"instruction": q.instruction, "input": q.input, "output": q.reference, "answer": q.answer}
            for q in questions(items)]  # fmt: skip
    memory.start()
    return len(ch07.generate_model_scores(rows, "answer", MODEL))


def contend(name: str, url: str, items: int, slots: int, results: Results) -> None:
    """One contender's process."""
    memory = Memory(items)
    used, begin = time.process_time(), time.monotonic()
    scored = {"ours": ours, "book": book}[name](url, items, slots, memory)
    seconds, used = time.monotonic() - begin, time.process_time() - used
    results.put(Contended(scored, seconds, used, memory.growth))


def result(process: BaseProcess, results: Results, seconds: float) -> Contended:
    """What a contender reports.

    Raises:
        PipelineError: it has died, or reports nothing in ``seconds``.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        alive = process.is_alive()
        with contextlib.suppress(queue.Empty):
            return results.get(timeout=0.5)
        if not alive:
            raise PipelineError(f"a contender ended with {process.exitcode} and no result", "see its output above")
    raise PipelineError(f"a contender was not done in {seconds:g} s", "fewer --items, or a shorter --service")


def measure(name: str, url: str, items: int, slots: int, service: float) -> Row:
    """Run one contender, and take what the server counted meanwhile."""
    context = multiprocessing.get_context("spawn")
    results: Results = context.Queue()
    process = context.Process(target=contend, args=(name, url, items, slots, results), daemon=True)
    process.start()
    try:
        found = result(process, results, SPARE_SECONDS + items * service)
    finally:
        process.terminate()
        process.join()
    with urllib.request.urlopen(f"{url}/stats") as response:
        served = Served(**json.load(response))
    return Row(
        contender=name,
        items=items,
        scored=found.scored,
        seconds=round(found.seconds, 2),
        slots_busy=round(served.taken / (slots * served.span), 4),
        cpu_ms_per_verdict=round(1000 * found.cpu / items, 3),
        memory_growth_mib=round(found.growth / 2**20, 1),
    )


def beyond(found: Row, service: float, *, least_busy: float = LEAST_BUSY) -> list[str]:
    """Our figures that are beyond their limits."""
    most = round(most_growth(found.items) / 2**20, 1)
    wrong = {
        f"{found.scored} of {found.items} scored": found.scored != found.items,
        f"slots busy {found.slots_busy:.1%}, not {least_busy:.0%}": service > 0 and found.slots_busy < least_busy,
        f"{found.cpu_ms_per_verdict} ms of CPU time a verdict, not less than {MOST_CPU_MS}": (
            found.cpu_ms_per_verdict >= MOST_CPU_MS
        ),
        f"memory grew by {found.memory_growth_mib} MiB, not at most {most}": found.memory_growth_mib > most,
    }
    return [what for what, holds in wrong.items() if holds]


def table(rows: Sequence[Row]) -> str:
    """The results as a Markdown table."""
    return "\n".join([*head(*asdict(rows[0])), *(line(*map(str, asdict(row).values())) for row in rows)])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Our judging client and the book's against a server of a known speed.")
    parser.add_argument("--items", type=int, default=1000, help="answers to be judged (1000)")
    parser.add_argument("--slots", type=int, default=4, help="verdicts that the server works on at a time (4)")
    parser.add_argument("--service", type=float, default=0.25, help="seconds a verdict (0.25)")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    with server(options.slots, options.service) as url:
        rows = [measure(name, url, options.items, options.slots, options.service) for name in options.contenders]
    print(table(rows))
    wrong = [what for row in rows if row.contender == "ours" for what in beyond(row, options.service)]
    if options.json:
        found = {
            "slots": options.slots,
            "service_seconds": options.service,
            "results": [asdict(row) for row in rows],
            "beyond": wrong,
        }
        write_json(options.json, found)
    if wrong:
        raise PipelineError(f"ours: {'; '.join(wrong)}")
    if "ours" in options.contenders:
        print("ours is within its limits")


if __name__ == "__main__":
    program.run("benchmarks.judge", main)
