"""lm-eval's model interface over a timetrial model of any family: tokenised and cut as lm-eval's own `hf` does.

Conventions are those of lm_eval.models.huggingface.HFLM: contexts and continuations are encoded together, sequences
that are too long lose their beginning, rolling windows are disjoint, generation stops before a stop string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

import timetrial
from timetrial.clock import MonotonicClock
from timetrial.progress import ProgressFactory, bar
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.general.generation import Drawing, drawings, streams_of
from timetrial_plugins.general.likelihood import Answer, Likelihoods, reader_for
from timetrial_plugins.general.opening import OpenedModel, Settings, open_model, sequences_at_once
from timetrial_plugins.general.sharing import Question
from timetrial_plugins.models.tokenizer import TEMPLATE_DATE, pin_date

DEFAULT_MAX_LENGTH = 8192
"""Of models whose context nothing bounds."""
_ROWS = 64  # generated together where nobody says how many

Pair = tuple[tuple[str, str] | None, list[int], list[int]]
"""The texts of context and continuation, and their tokens."""


class TimetrialLM(TemplateLM):  # type: ignore[misc]  # lm-eval ships no types
    """A timetrial model as lm-eval asks it."""

    def __init__(
        self,
        model: str | OpenedModel,
        *,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,  # Any: as lm-eval parses --model_args
    ) -> None:
        """Load a model, unless it is loaded.

        Args:
            model: what `timetrial.load_model` takes: a known name, a folder, a Hub id, or a version of a registry.
            batch_size: sequences evaluated at once; None or "auto": as many as a bound on tokens allows.
            max_batch_size: the most for "auto".
            device: as for `timetrial.load_model`.
            options: its other options; and max_length, the most tokens of a sequence (the model's context by default),
                and seed, of sampled generation.

        Raises:
            UsageError: an option is unknown or out of range.
            TimetrialError: the model cannot be loaded.
        """
        super().__init__()
        options = {name: value for name, value in options.items() if value is not None}
        own = {name: int(options.pop(name)) for name in ("max_length", "seed") if name in options}
        self._settings = Settings(most_sequences=sequences_at_once(batch_size, max_batch_size), **own)
        opened = open_model(model, device, options) if isinstance(model, str) else model
        self.model, self._folder = opened
        self.tokenizer = _tokenizer(opened)
        self.progress: ProgressFactory = bar
        self.clock: timetrial.Clock = MonotonicClock(self.model.synchronize)
        self.request_s = 0.0
        """Seconds spent on requests so far, tokenisation included."""
        self.num_cut = 0
        """Sequences so far that lost their beginning, for want of context."""
        self._encoded: dict[str, list[int]] = {}

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @cached_property
    def max_length(self) -> int:
        """Most tokens of a sequence."""
        return self._settings.max_length or self.model.description.get("context_length") or DEFAULT_MAX_LENGTH

    @property
    def batch_size(self) -> int | str:
        """Sequences evaluated at once."""
        return self._settings.most_sequences or "auto"

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval calls the tokenizer in its caches."""
        return str(self._folder).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the chat template that is applied, as text."""
        return str(self._template) if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as the model reads it; today's date, where a template prints it, is pinned.

        Raises:
            UsageError: the checkpoint has no chat template.
            CheckpointError: the template refuses the turns.
        """
        template = self._template
        try:
            text: str = self.tokenizer.apply_chat_template(
                chat_history,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
            )
        except Exception as cause:  # templates are programs of the checkpoint's author
            raise timetrial.CheckpointError(f"the chat template in {self._folder} refuses a prompt: {cause}") from cause
        return text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the tokens of a text, special ones as the tokenizer adds them unless the text begins with one."""
        if add_special_tokens is None and string in self._encoded:
            return self._encoded[string]
        if add_special_tokens is None:
            add_special_tokens = self._takes_special_tokens(string)
        tokens: list[int] = self.tokenizer.encode(string, add_special_tokens=add_special_tokens)
        return tokens

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return how likely each continuation is, and whether it is greedy decoding's."""
        pairs = [request.args for request in requests]
        with self._timed():
            self._encoded = self._encode_together(
                text for context, rest in pairs if context for text in (context + rest, context.rstrip())
            )
            try:
                answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
            finally:
                self._encoded = {}
        return answers

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return how likely each whole text is, read in disjoint windows."""
        texts = [request.args[0] for request in requests]
        with self._timed():
            encoded = self._encode_together(texts)
            windows: list[Pair] = []
            owners: list[int] = []
            for owner, text in enumerate(texts):
                found = get_rolling_token_windows(encoded[text], self.prefix_token_id, self.max_length, 1)
                windows += [(None, *make_disjoint_window(pair)) for pair in found]
                owners += [owner] * (len(windows) - len(owners))
            sums = [0.0] * len(texts)
            for owner, answer in zip(owners, self._answers(windows), strict=True):
                sums[owner] += answer.log_likelihood
        for text, total in zip(texts, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what the model writes after each context, up to a stop string.

        Raises:
            UsageError: a task asks for what the engine does not do, or for more tokens than the context holds.
        """
        contexts, arguments = [request.args[0] for request in requests], [request.args[1] for request in requests]
        texts = [""] * len(requests)
        with self._timed(), self.progress("generating", len(requests)) as advance:
            encoded, streams = self._encode_together(contexts), streams_of(contexts, self._settings.seed)
            for drawing in drawings(arguments, seed=self._settings.seed):
                prompts = [self._prompt(encoded[contexts[place]], drawing) for place in drawing.places]
                for place, text in self._generated(drawing, prompts, [streams[place] for place in drawing.places]):
                    texts[place] = text
                    advance(1)
        for context, its_arguments, text in zip(contexts, arguments, texts, strict=True):
            self.cache_hook.add_partial("generate_until", (context, its_arguments), text)
        return texts

    def get_model_info(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what lm-eval writes of a model beside its results."""
        facts = self.model.description
        return {
            "model_num_parameters": facts.get("parameters", -1),
            "model_dtype": facts.get("dtype", ""),
            "model_sha": facts.get("checkpoint_digest", ""),
        }

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the seconds of the block among those of requests."""
        start = self.clock.now()
        yield
        self.request_s += self.clock.now() - start

    @cached_property
    def _template(self) -> str:
        template = self.tokenizer.chat_template
        if template is None:
            raise timetrial.UsageError(
                f"{self._folder} has no chat template to apply: it is a base model; leave the chat template out"
            )
        return pin_date(self.tokenizer.get_chat_template())

    @cached_property
    def _prefix(self) -> str:
        return str(self.tokenizer.decode(self.prefix_token_id))

    def _takes_special_tokens(self, text: str) -> bool:
        return not text.startswith(self._prefix)

    def _encode_together(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Return the tokens of each text, encoded in one call: several times as fast as one by one."""
        distinct = dict.fromkeys(texts)
        encoded: dict[str, list[int]] = {}
        for takes_special in (True, False):
            some = [text for text in distinct if self._takes_special_tokens(text) == takes_special]
            if some:
                encoded |= zip(some, self.tokenizer(some, add_special_tokens=takes_special)["input_ids"], strict=True)
        return encoded

    def _loglikelihood_tokens(self, requests: list[Pair], **_: Any) -> list[tuple[float, bool]]:
        """Answer pairs of tokens; lm-eval's base class calls it."""
        answers = [(answer.log_likelihood, answer.is_greedy) for answer in self._answers(requests)]
        for (texts, _context, _continuation), answer in zip(requests, answers, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def _answers(self, pairs: Sequence[Pair]) -> list[Answer]:
        questions = [self._question(context, continuation) for _, context, continuation in pairs]
        asked = Likelihoods(reader_for(self.model), self._settings.most_sequences)
        with self.progress("log-likelihoods", len(questions)) as advance:
            return asked.answer(questions, advance)

    def _question(self, context: list[int], continuation: list[int]) -> Question:
        """Return what is read and asked, its beginning cut off where it is too long."""
        if not 0 < len(continuation) <= self.max_length:
            raise timetrial.UsageError(
                f"a continuation has {len(continuation)} tokens: expected at least 1, and no more than the model's "
                f"max_length of {self.max_length:,}"
            )
        whole = context + continuation
        self._check_vocabulary(whole)
        self.num_cut += len(whole) > self.max_length + 1
        return Question(tuple(whole[-self.max_length - 1 : -1]), tuple(continuation))

    def _prompt(self, tokens: list[int], drawing: Drawing) -> list[int]:
        """Return what is read before generating, its beginning cut off where the completion needs the room."""
        room = self.max_length - drawing.sampling.max_tokens
        if room < 1:
            raise timetrial.UsageError(
                f"a task asks for {drawing.sampling.max_tokens:,} tokens, and the model's max_length is "
                f"{self.max_length:,}: set max_gen_toks with --gen-kwargs"
            )
        self._check_vocabulary(tokens)
        self.num_cut += len(tokens) > room
        return tokens[-room:] or [self.prefix_token_id]

    def _generated(
        self, drawing: Drawing, prompts: Sequence[list[int]], streams: Sequence[int]
    ) -> Iterator[tuple[int, str]]:
        """Yield the place of a request and its text, as they finish."""
        if not isinstance(self.model, EngineModel):
            raise timetrial.UsageError(
                f"models of family {self.model.description.get('family')!r} bring an engine of their own, which takes "
                "chats and not plain texts: only tasks of log-likelihoods can be run on them"
            )
        # Prompts of one length that stand together are read together.
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        finished = self.model.complete(
            [prompts[place] for place in order],
            [streams[place] for place in order],
            drawing.sampling,
            batch_size=self._settings.most_sequences or _ROWS,
        )
        for decoded in finished:
            if decoded.error is not None:
                raise timetrial.CheckpointError(f"generation failed: {decoded.error}")
            yield drawing.places[order[decoded.tag]], decoded.text

    def _check_vocabulary(self, tokens: Sequence[int]) -> None:
        if isinstance(self.model, EngineModel) and max(tokens, default=0) >= self.model.module.vocab_size:
            raise timetrial.CheckpointError(
                f"the tokenizer gives token {max(tokens)}, but the model knows {self.model.module.vocab_size} tokens"
            )


def _tokenizer(opened: OpenedModel) -> Any:  # Any: transformers ships no types
    """Return transformers' tokenizer, as lm-eval's own models use it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(opened.tokenizer_folder, trust_remote_code=False, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise timetrial.CheckpointError(
            f"the tokenizer in {opened.tokenizer_folder} names no end-of-sequence token, which lm-eval needs: expected "
            "eos_token in tokenizer_config.json"
        )
    return tokenizer
