"""Run by torchrun on two processes: gradients and steps of every stage, sharded by FSDP2, against those of one process.

Each rank takes a row of its own. Exits with an error where they differ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from timetrial_distillation.data.rows import Rows
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.hidden_states import HiddenStateAlignment
from timetrial_distillation.objectives.orientation import MatrixOrientation
from timetrial_distillation.objectives.parameters import RowDecay, freeze_others, parameter_groups
from timetrial_distillation.objectives.stage import Model, StageObjective
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.students import initialise_llamba

STAGES: dict[str, Callable[[Llama], StageObjective]] = {
    "matrix-orientation": lambda teacher: MatrixOrientation(teacher=teacher, block_size=5),
    "hidden-states": lambda teacher: HiddenStateAlignment(teacher=teacher),
    "mixers": lambda teacher: HiddenStateAlignment(teacher=teacher, compare="mixers"),
    "end-to-end": lambda teacher: EndToEnd(teacher=teacher, chunk_size=4, token_loss=TokenLoss(kl_weight=0.5)),
    "checkpointing": lambda teacher: EndToEnd(teacher=teacher, places="all", chunk_size=4, checkpointing=True),
}


def make_teacher(tied: bool) -> Llama:
    teacher = Llama(
        LlamaConfig(
            vocab_size=31,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            tie_word_embeddings=tied,
        )
    )
    teacher.initialise(torch.Generator().manual_seed(0), std=0.2)
    return teacher


def make_student(teacher: Llama) -> Llamba:
    mixer = {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 4}
    student = Llamba(
        LlambaConfig.from_json(
            {
                "vocab_size": 31,
                "d_model": 32,
                "n_layer": 2,
                "tie_embeddings": teacher.config.tie_word_embeddings,
                "mlp_cfg": {"intermediate_size": 48},
                "ssm_cfg": mixer,
            }
        )
    )
    initialise_llamba(student, teacher, torch.Generator().manual_seed(1))
    return student


def make_rows() -> Rows:
    """Two rows, of which the second has no labels at all in its second half."""
    tokens = torch.randint(31, (2, 12), generator=torch.Generator().manual_seed(2))
    labels, doc_ids = tokens.roll(-1, 1), torch.tensor([[0] * 7 + [1] * 5, [0] * 6 + [1] * 6])
    labels[:, [5, 6, 11]], labels[1, 5:] = -100, -100
    return Rows(tokens, labels, doc_ids, 24, 0)


def shard(model: Model, methods: tuple[str, ...]) -> None:
    """Shard layers, embedding and norm each by itself, then what is left: an untied head."""
    parts = model.anatomy
    for module in (parts.embedding, *parts.layers, parts.norm):
        fully_shard(module)
    fully_shard(model)
    for layer in parts.layers:
        for method in methods:
            register_fsdp_forward_method(layer, method)


def train(
    stage: str, rows: Rows, tied: bool, world: int, count: int
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return gradients and weights after one step."""
    teacher = make_teacher(tied)
    student = make_student(teacher)
    objective = STAGES[stage](teacher)
    trained = objective.trained(student)
    freeze_others(student, trained)
    if world > 1:
        shard(student, objective.forward_methods)
        shard(teacher, ())
    optimizer = torch.optim.AdamW(parameter_groups(student, trained, 0.3), lr=0.1)
    RowDecay(student, trained, 0.3).attach(optimizer)
    objective.backward(student, rows, world / count)
    gradients = {name: whole(p.grad) for name, p in student.named_parameters() if p.grad is not None}
    optimizer.step()
    return gradients, {name: whole(p.detach()) for name, p in student.named_parameters()}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).clone()


def main() -> None:
    dist.init_process_group("gloo")
    rank, rows = dist.get_rank(), make_rows()
    mine = Rows(*(tensor[rank : rank + 1] for tensor in rows[:3]), 12, 0)
    for stage in STAGES:
        for tied in (True, False):
            count = STAGES[stage](make_teacher(tied)).count(rows)
            expected, stepped = train(stage, rows, tied, 1, count)
            ours, our_step = train(stage, mine, tied, 2, count)
            assert ours.keys() == expected.keys(), (stage, tied, ours.keys() ^ expected.keys())
            for name, gradient in expected.items():
                torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6, msg=f"{stage} {tied} {name}")
                solid = gradient.abs() > 1e-3  # where Adam's first step, the sign of the gradient, is certain
                torch.testing.assert_close(our_step[name][solid], stepped[name][solid], rtol=1e-4, atol=1e-4)
            for name in stepped.keys() - expected.keys():
                assert torch.equal(our_step[name], stepped[name]), (stage, tied, name)
    print(f"rank {rank}: {len(STAGES)} stages agree")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
