"""The documents of an lm-eval task as problems, and its prompts: made by lm-eval's own code, examples included.

Worked examples are drawn as `lm_eval` draws them: one generator with its default seed, over all documents in order. So
the prompt of a document is the same word for word, whether timetrial or lm-eval asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.error import DataError, TimetrialError, UsageError
from timetrial.record import Message, Problem, Prompt
from timetrial_plugins.grading import extract_answer
from timetrial_plugins.lm_eval_tasks.definition import Definition
from timetrial_plugins.lm_eval_tasks.kinds import GraderName
from timetrial_plugins.lm_eval_tasks.quiet import quiet
from timetrial_plugins.lm_eval_tasks.splits import local_splits

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

FEWSHOT_SEED = 1234
"""lm-eval's default, also if it is called from Python."""
ANSWER_MARK = "####"
"""What stands before the answer in solutions of GSM8K's format."""

Document = Mapping[str, Any]  # Any: cells of a data set


@dataclass(frozen=True)
class Documents:
    """The documents of a task, read when they are first asked for."""

    definition: Definition
    data: Path | None
    """A file of the evaluated split, or a folder with a file for each split; None: as lm-eval gets them."""
    num_fewshot: int | None
    """None: as many as the task says."""
    grader: GraderName

    @property
    def shots(self) -> int:
        """How many worked examples stand before a problem."""
        told = self.definition.config.get("num_fewshot") if self.num_fewshot is None else self.num_fewshot
        return int(told or 0)

    @property
    def split(self) -> str:
        """The split whose documents are the problems."""
        config = self.definition.config
        return str(config.get("test_split") or config.get("validation_split"))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of the split, which is what their ids count.

        Raises:
            DataError: the data cannot be had, or does not fit the task.
        """
        return tuple(self._problems())

    @cached_property
    def prompts(self) -> dict[str, Prompt]:
        """The prompt of each problem, by its id; once as chat turns, and once as plain text."""
        plain = self._contexts(apply_chat_template=False)
        turns = self._contexts(apply_chat_template=True, fewshot_as_multiturn=True, chat_template=_as_they_are)
        starts = [self._task.doc_to_prefix(document) or "" for document in self._task.eval_docs]
        return {
            problem.id: _prompt(problem, text, chat, start)
            for problem, text, chat, start in zip(self.problems, plain, turns, starts, strict=True)
        }

    @cached_property
    def _task(self) -> ConfigurableTask:
        name, path = self.definition.name, self.data
        try:
            with quiet():
                return self.definition.build(num_fewshot=self.shots, **self._data_overrides())
        except TimetrialError:
            raise
        except (ImportError, AssertionError) as cause:  # what its functions need, which some tasks assert
            raise UsageError(f"lm-eval's task {name!r} needs something that is not installed: {cause}") from cause
        except Exception as cause:  # of datasets, of huggingface_hub, or of the task's functions, of any kind
            reason = str(cause).strip().partition("\n")[0]
            raise DataError(
                f"the data of lm-eval's task {name!r} cannot be read ({type(cause).__name__}: {reason}). Without "
                f"internet, give the rows of its split {self.split!r}, with the columns that the task reads, by --data "
                f"lm-eval:{name}=FILE, or a folder with a file for each split",
                path or f"data set {self.definition.config.get('dataset_path')}",
            ) from cause

    def _data_overrides(self) -> dict[str, object]:
        """Return what makes lm-eval read local files instead of its data set.

        Raises:
            UsageError: worked examples come from a split that is not there.
        """
        if self.data is None:
            return {}
        splits = local_splits(self.data, self.split)
        config = self.definition.config
        overrides: dict[str, object] = {"custom_dataset": lambda **_: splits}
        named = config.get("fewshot_split") or (config.get("fewshot_config") or {}).get("split")
        examples = named or config.get("training_split") or config.get("validation_split")
        if examples not in splits and not _brings_examples(config):
            if self.shots and examples != self.split:
                raise UsageError(
                    f"lm-eval:{self.definition.name} draws {self.shots} worked examples from the split {examples!r}, "
                    f"and {self.data} holds {', '.join(splits)}: give a folder with {examples}.jsonl and "
                    f"{self.split}.jsonl, or ask for lm-eval:{self.definition.name}:fewshot=0"
                )
            overrides |= {"fewshot_split": None, "fewshot_config": None}
        absent = {key: None for key in ("training_split", "validation_split") if config.get(key) not in splits}
        return overrides | absent

    def _problems(self) -> Iterator[Problem]:
        for index, document in enumerate(self._task.eval_docs):
            yield Problem(
                id=f"{self.split}-{index:05d}",
                text=str(self._task.doc_to_text(document)),
                gold=self._gold(document),
            )

    def _gold(self, document: Document) -> str:
        target = self._task.doc_to_target(document)
        if self._task.config.doc_to_choice is not None:
            target = self._task.doc_to_choice(document)[target]
        if isinstance(target, list):
            return json.dumps([str(item) for item in target])
        return _stated(str(target)) if self.grader == "math" else str(target)

    def _contexts(self, **options: object) -> Sequence[Any]:  # Any: text, or chat turns
        self._task.set_fewshot_seed(FEWSHOT_SEED)
        return [
            self._task.fewshot_context(
                document, num_fewshot=self.shots, gen_prefix=self._task.doc_to_prefix(document), **options
            )
            for document in self._task.eval_docs
        ]


def _prompt(problem: Problem, plain: str, turns: list[dict[str, Any]], start: str) -> Prompt:  # Any: lm-eval's roles
    """Put together what lm-eval made of a document; both forms end with how the model's own turn begins."""
    asked = turns[:-1] if start else turns
    return Prompt(
        problem=problem.id,
        messages=tuple(Message(turn["role"], turn["content"]) for turn in asked),
        plain=plain.removesuffix(start),
        start=start,
    )


def _as_they_are(turns: list[dict[str, Any]], **_: object) -> list[dict[str, Any]]:  # Any: as above
    """Stand in for a chat template: lm-eval's turns, which the model's tokenizer renders later."""
    return turns


def _brings_examples(config: Mapping[str, Any]) -> bool:  # Any: whatever YAML can hold
    return bool((config.get("fewshot_config") or {}).get("samples"))


def _stated(target: str) -> str:
    """Return the answer that a gold solution states; a target that states none is the answer itself."""
    solution, mark, answer = target.rpartition(ANSWER_MARK)
    if mark:
        return answer.strip()
    return (extract_answer(target, "math") or target) if r"\boxed" in target else target
