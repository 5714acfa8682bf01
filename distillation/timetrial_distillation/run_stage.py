"""One stage from beginning to end: models, data, training, the folder that comes out, its evaluation and publication.

A stage leaves OUT/<stage>, a checkpoint folder in the Hub's layout, and OUT/training/<stage>: config, log, checkpoints,
evaluations.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jsonlines
import torch

from timetrial.clock import Clock
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.checkpoint import TrainingState
from timetrial_distillation.data.rows import RowSource
from timetrial_distillation.estimate import Estimate, estimate, measure_step, trained_tensors
from timetrial_distillation.evaluation import Evaluation, evaluate
from timetrial_distillation.lineage import Ancestry, publish
from timetrial_distillation.loop import StepLog, Surroundings, cut_log, run_loop
from timetrial_distillation.origin import SUMMARY, check_start
from timetrial_distillation.output import claim_folder, read_json, write_json
from timetrial_distillation.sources import Arrangement, open_rows
from timetrial_distillation.stage_request import Console, StageRequest, StageResult
from timetrial_distillation.stages import make_objective
from timetrial_distillation.student import initialised_student
from timetrial_distillation.trackers import Tracker, evaluation_figures, opened_trackers, step_figures
from timetrial_distillation.trainer import Job, Trainer
from timetrial_distillation.world import World, gathered
from timetrial_plugins.models.saving import save_weights
from timetrial_plugins.rewards import declaration
from timetrial_registry.checkpoint import TOKENIZER_FILES, read_config
from timetrial_registry.records import Version

EVALUATIONS_NAME = "evaluations.jsonl"
PUBLISHED_NAME = "published.json"
RESULT_NAME = "result.json"
_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")
Json = dict[str, Any]  # Any: JSON


class Stage:
    """A stage that is ready to run: its models are loaded and everything has been checked."""

    def __init__(self, request: StageRequest, world: World, clock: Clock) -> None:
        """Load the models and open the data; nothing is written.

        Raises:
            UsageError: the parts do not go together.
            CheckpointError: a model cannot be read.
            DataError: the data is not finished or damaged.
        """
        if request.start is not None:
            check_start(request.config.stage, request.start, request.teacher)
        self.request, self._world, self._clock = request, world, clock
        self._source = self._open_source()
        self.job = self._make_job()
        self._tensors = trained_tensors(self.job)
        self._known = estimate(request.config, self.job, self._tensors)
        self._trainer = Trainer(self.job, world)

    def plan(self, console: Console) -> Estimate:
        """Measure a step, show what the stage will take, and return it."""
        seconds, peak = measure_step(self._trainer, self._clock, self._world)
        found = replace(self._known, step_s=seconds, peak_bytes=peak)
        if self._world.is_first:
            console.plan(self.request.config.stage, self.job, self._tensors, found)
        return found

    def run(self, console: Console) -> Json:
        """Train, export, evaluate and publish; return what came out, a `StageResult` as JSON.

        A stage that is finished already is left as it is.

        Raises:
            UsageError: the output folder is taken.
            ConfigMismatchError: the run to resume has another config, teacher, start or data.
            TrainingDivergedError: the loss became no number.
            InterruptedTraining: after saving, when asked to stop.
        """
        request, world = self.request, self._world
        if world.is_first:
            used = request.training_folder if request.training_folder.exists() else request.folder
            claim_folder(used, request.training_folder, self.identity, resume=request.resume)
        world.wait()
        done = request.training_folder / RESULT_NAME
        if not done.exists():
            self.plan(console)
            names = request.trackers if world.is_first else ()
            with opened_trackers(names, request.training_folder, request.config.stage, self.identity) as trackers:
                self._finish(self._train(console, trackers), console, trackers)
        return dict(read_json(done))

    def _train(self, console: Console, trackers: Sequence[Tracker]) -> TrainingState:
        request = self.request
        with console.bar(request.config.stage, request.config.loop.num_steps) as show:

            def report(entry: StepLog) -> None:
                show(entry)
                for tracker in trackers:
                    tracker.log(entry.step, step_figures(entry))

            surroundings = Surroundings(
                clock=self._clock,
                world=self._world,
                report=report,
                evaluate=lambda state: self._evaluate_midway(state, trackers),
                evaluate_every=request.evaluation.every if request.evaluation else 0,
            )
            return run_loop(self._trainer, self.job, request.training_folder, surroundings)

    @property
    def identity(self) -> Json:
        """Everything that must be the same when the stage is resumed."""
        request = self.request
        config = asdict(request.config)
        del config["loop"]["checkpoint_every"]
        if request.lesson is not None:
            del config["token_loss"]
            config["lesson"] = dict(request.lesson.described)
        return {
            "config": config,
            "precision": request.execution.precision,
            "shape": None if request.shape is None or request.start is not None else asdict(request.shape),
            "teacher": None if request.teacher is None else request.teacher.digest,
            "start": None if request.start is None else request.start.digest,
            "data": self._source.digest,
        }

    def _open_source(self) -> RowSource:
        config, model = self.request.config, self.request.tokenizer_model
        if self.request.lesson is not None:
            return self.request.lesson.source
        arrangement = Arrangement(length=config.length, mode=config.mode, seed=config.seed)
        return open_rows(self.request.data, arrangement, model.tokenizer, model.ref)

    def _make_job(self) -> Job:
        request, config = self.request, self.request.config
        is_narrow = request.execution.precision == "bfloat16"
        teacher = None
        if request.teacher is not None:
            teacher = request.teacher.load(torch.float32)
        if request.start is not None:
            student = request.start.load(torch.float32)
        else:
            assert request.shape is not None and teacher is not None, "a first stage has a shape and a teacher"
            student = initialised_student(request.shape, teacher, config.seed)
        if teacher is not None and is_narrow:
            teacher.to(torch.bfloat16)
        if request.lesson is not None:
            objective = request.lesson.objective
        else:
            objective = make_objective(config, teacher, checkpointing=request.checkpointing)
        return Job(
            student=student,
            teacher=teacher,
            objective=objective,
            source=self._source,
            batch_rows=config.batch_rows,
            loop=config.loop,
            execution=request.execution,
        )

    def _evaluate_midway(self, state: TrainingState, trackers: Sequence[Tracker]) -> None:
        snapshot = self.request.training_folder / "evaluated"
        self._export(snapshot, state)
        if self._world.is_first:
            self._evaluate(snapshot, state.step, silent, trackers)
            shutil.rmtree(snapshot)
        self._world.wait()

    def _evaluate(self, model: Path, step: int, progress: ProgressFactory, trackers: Sequence[Tracker]) -> Evaluation:
        config, folder = self.request.evaluation, self.request.training_folder
        assert config is not None
        out = folder / "evaluations" / f"step-{step:09d}"
        shutil.rmtree(out, ignore_errors=True)  # of a run that was killed, or went on from an earlier step
        found = evaluate(model, config, out, step, self._world.device.type, progress)
        cut_log(folder / EVALUATIONS_NAME, step - 1)
        with jsonlines.open(folder / EVALUATIONS_NAME, "a") as log:
            log.write(asdict(found))
        for tracker in trackers:
            tracker.log(step, evaluation_figures(found))
        return found

    def _export(self, folder: Path, state: TrainingState) -> None:
        """Write the student as a checkpoint folder; all processes have to."""
        weights = gathered(self.job.student)
        if not self._world.is_first:
            return
        origin = self.request.tokenizer_model
        with torch.device("meta"):
            module = type(self.job.student)(self.job.student.config)
        module.load_state_dict(weights, assign=True)
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in (*TOKENIZER_FILES, "generation_config.json"):
            for base in dict.fromkeys((origin.folder, origin.tokenizer)):
                for path in base.glob(pattern):
                    shutil.copyfile(path, folder / path.name)
        said = read_config(origin.folder)
        extra = {name: said[name] for name in _ENDS if name in said}
        dtype = str(self.request.dtype).removeprefix("torch.")
        write_json(folder / SUMMARY, self._summary(state))
        save_weights(module, folder, dtype=self.request.dtype, extra={**extra, "dtype": dtype})  # type: ignore[arg-type]  # of a known family
        if self.request.lesson is not None:
            declaration.write(folder, self.request.lesson.declaration)

    def _summary(self, state: TrainingState) -> Json:
        teacher, start = self.request.teacher, self.request.start
        return {
            "stage": self.request.config.stage,
            "teacher": None if teacher is None else teacher.ref,
            "teacher_digest": teacher.digest if teacher is not None else start.teacher_digest if start else None,
            "start": None if start is None else start.ref,
            "data_names": [name for name, _ in self.request.data],
            **{name: self.identity[name] for name in ("config", "precision", "shape", "data")},
            "result": {"num_steps": state.step, "tokens_seen": state.tokens_seen},
        }

    def _finish(self, state: TrainingState, console: Console, trackers: Sequence[Tracker]) -> None:
        """Leave the result, with its evaluation, and its version if it is to be published."""
        self._export(self.request.folder, state)
        if self._world.is_first:
            found = None
            if self.request.evaluation is not None:
                found = self._evaluate(self.request.folder, state.step, console.progress, trackers)
            version = self._publish(state, found, console.progress)
            first, final = end_losses(self.request.training_folder)
            result = StageResult(
                stage=self.request.config.stage,
                folder=str(self.request.folder),
                num_steps=state.step,
                tokens_seen=state.tokens_seen,
                elapsed_s=round(state.elapsed_s, 1),
                first_loss=first,
                final_loss=final,
                evaluation=found,
                published=None if version is None else version.ref,
            )
            write_json(self.request.training_folder / RESULT_NAME, asdict(result))
        self._world.wait()

    def _publish(self, state: TrainingState, found: Evaluation | None, progress: ProgressFactory) -> Version | None:
        name, folder = self.request.registry_name, self.request.training_folder
        if name is None:
            return None
        version = publish(name, self.request.folder, self._ancestry(state), found, progress)
        write_json(folder / PUBLISHED_NAME, {"ref": version.ref, "digest": version.digest})
        return version

    def _ancestry(self, state: TrainingState) -> Ancestry:
        identity = self.identity
        text = json.dumps(identity, sort_keys=True)
        return Ancestry(
            stage=self.request.config.stage,
            teacher=self.request.teacher,
            start=self.request.start,
            data=[name for name, _ in self.request.data],
            data_digest=self._source.digest,
            config=identity["config"],
            config_digest=hashlib.sha256(text.encode()).hexdigest(),
            seed=self.request.config.seed,
            tokens=state.tokens_seen,
            others=() if self.request.lesson is None else self.request.lesson.labellers,
        )


def end_losses(folder: Path) -> tuple[float, float]:
    """Return the mean loss over the first and the last twentieth of the steps in a training folder."""
    with jsonlines.open(folder / "log.jsonl") as log:
        losses: Sequence[float] = [line["loss"] for line in log]
    span = max(1, len(losses) // 20)
    return round(sum(losses[:span]) / span, 5), round(sum(losses[-span:]) / span, 5)
