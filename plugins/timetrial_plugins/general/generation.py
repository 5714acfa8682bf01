"""lm-eval's keyword arguments of a generation request as timetrial's sampling, and requests that share them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import timetrial
from timetrial_plugins.engine.sampler import stream_seed

KeywordArguments = Mapping[str, Any]  # Any: as task files give them

DEFAULT_MAX_TOKENS = 256
"""Of a request that names no limit: lm-eval's own."""
_MEANINGLESS = {"num_beams": 1, "use_cache": True, "repetition_penalty": 1.0, "num_return_sequences": 1}
"""Arguments of transformers' generate that some task files give, with the value at which they change nothing."""


class Drawing(NamedTuple):
    """Requests that are generated alike."""

    sampling: timetrial.Sampling
    places: list[int]
    """Of the requests, in the order in which they were given."""


def sampling_of(arguments: KeywordArguments, *, seed: int) -> timetrial.Sampling:
    """Return what a request's arguments ask for; lm-eval's rules hold: greedy unless do_sample or a temperature.

    Raises:
        UsageError: an argument asks for something the engine does not do.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    # Any: as task files give them
    given: dict[str, Any] = dict(normalize_gen_kwargs(dict(arguments), DEFAULT_MAX_TOKENS))
    until, is_sampled = given.pop("until", None) or [], given.pop("do_sample")
    temperature = given.pop("temperature", None)
    top_k = given.pop("top_k", None) or -1
    top_p, max_tokens = given.pop("top_p", None), given.pop("max_gen_toks")
    unknown = {name: value for name, value in given.items() if value is not None and _MEANINGLESS.get(name) != value}
    if unknown:
        raise timetrial.UsageError(
            f"a task asks to generate with {_listed(unknown)}, which timetrial's engine does not do: expected until, "
            "max_gen_toks, do_sample, temperature, top_p and top_k. Override them with --gen-kwargs"
        )
    return timetrial.Sampling(
        temperature=float(1.0 if temperature is None else temperature) if is_sampled else 0.0,
        top_p=1.0 if top_p is None else float(top_p),
        top_k=int(top_k),
        max_tokens=int(max_tokens),
        stop=tuple(dict.fromkeys(string for string in ([until] if isinstance(until, str) else until) if string)),
        seed=seed,
    )


def drawings(arguments: Sequence[KeywordArguments], *, seed: int) -> list[Drawing]:
    """Return the requests grouped by what they ask for.

    Raises:
        UsageError: as `sampling_of`.
    """
    grouped: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(arguments):
        grouped[json.dumps(each, sort_keys=True, default=str)].append(place)
    return [Drawing(sampling_of(arguments[places[0]], seed=seed), places) for places in grouped.values()]


def streams_of(contexts: Sequence[str], seed: int) -> list[int]:
    """Return the streams of random numbers of completions: of a context, and of how often it was asked for before."""
    times: Counter[str] = Counter()
    streams = []
    for context in contexts:
        digest = hashlib.sha256(context.encode("utf-8", "surrogatepass")).hexdigest()
        streams.append(stream_seed(seed, digest, times[digest]))
        times[digest] += 1
    return streams


def _listed(arguments: KeywordArguments) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(arguments.items()))
