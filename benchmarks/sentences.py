"""A real sentence transformer, 90 MB, on both cores: texts of all lengths, and the memory of one more worker."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks import inputs, models, session
from benchmarks.bench import Bench
from benchmarks.cores import process_on
from benchmarks.memory import memory_of
from benchmarks.result import Parts, Result, Target
from benchmarks.server import onnicorn
from benchmarks.session import Inputs
from service.bench import request

_CONCURRENCY: Final = 32
_SECONDS: Final = 2.0
_SENTENCES: Final = 256
_BATCH: Final = 8


def measure(bench: Bench) -> Iterator[Result]:
    """Sequences a second against the better of two ways to run the model in two processes without a server."""
    model = models.sentences()
    if model is None:
        bench.notes.append("left out: the sentence transformer, because ONNICORN_TEST_MODELS is not set")
        return
    yield from _throughput(bench, model)
    yield _memory(bench, model)


def _throughput(bench: Bench, model: Path) -> Iterator[Result]:
    repository = models.padded_sentences(model, bench.folder)
    texts = inputs.sentences(_SENTENCES)
    requests = [request.infer("minilm", text) for text in texts]
    by_length = sorted(texts, key=lambda text: text["input_ids"].shape[1])
    batches = [session.pad(by_length[start : start + _BATCH]) for start in range(0, len(by_length), _BATCH)]
    with (
        onnicorn(repository, bench.folder, bench.cores.both, workers=2) as ours,
        process_on(bench.cores.driving) as second,
    ):
        both = (bench.alone, second)
        found = bench.take_turns(
            {
                "onnicorn": lambda: bench.closed(ours, requests, _CONCURRENCY, _SECONDS).rate,
                "singly": lambda: _in_two_processes(both, model, texts),
                "sorted, by 8": lambda: _in_two_processes(both, model, batches),
            }
        )
    rates = {name: Parts(name, values, "seq/s") for name, values in found.items()}
    best = [max(pair) for pair in zip(found["singly"], found["sorted, by 8"], strict=True)]
    ratios = [mine / other for mine, other in zip(found["onnicorn"], best, strict=True)]
    name = "sentences, 2 workers: sequences/s / the better way alone"
    yield Result(name, ratios, tuple(rates.values()), Target(0.9, at_least=True))


def _in_two_processes(processes: tuple[ProcessPoolExecutor, ...], model: Path, batches: Sequence[Inputs]) -> float:
    """Every second batch to the one, the rest to the other, at the same time."""
    halves = [batches[index :: len(processes)] for index in range(len(processes))]
    running = [
        process.submit(session.run, model, half, _SECONDS) for process, half in zip(processes, halves, strict=True)
    ]
    return sum(run.result().rows_per_second for run in running)


def _memory(bench: Bench, model: Path) -> Result:
    requests = [request.infer("minilm", text) for text in inputs.sentences(_SENTENCES)]
    one, three = (memory_of(bench, model.parent, workers, requests) / 1e6 for workers in (1, 3))
    parts = (Parts("1 worker", [one], "MB"), Parts("3 workers", [three], "MB"))
    return Result("sentences: memory of one more worker", [(three - one) / 2], parts, Target(70), "MB")
