"""Students initialised from a teacher: where every tensor came from, and that it is what the record says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from timetrial.error import UsageError
from timetrial_plugins.models.filling import TensorOrigin
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.layouts import convert
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba, LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.students import initialise_hybrid, initialise_llamba

Json = dict[str, Any]
Published = Callable[..., Json]
TOKENS = torch.arange(60).reshape(2, 30)
RECIPES = ("mohawk", "attention")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def teacher(published: Published) -> Llama:
    return make_teacher(published())


def make_teacher(data: Json) -> Llama:
    module = Llama(LlamaConfig.from_json(data))
    module.initialise(generator(1), std=0.08)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5, generator=generator(2))
    return module.eval()


def hybrid_student(teacher: Llama, kind: str = "mamba1") -> MambaInLlama:
    return MambaInLlama(HybridConfig.of_teacher(teacher.config, (1, 4), kind))


def llamba_student(teacher: Llama, *, state: int = 16, heads: int = 6, **changes: Any) -> Llamba:
    config = teacher.config
    data = {
        "vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "n_layer": config.num_hidden_layers,
        "tie_embeddings": config.tie_word_embeddings,
        "mlp_cfg": {"intermediate_size": config.intermediate_size},
        "ssm_cfg": {"d_state": state, "n_v_heads": heads, "n_qk_heads": heads},
    }
    return Llamba(LlambaConfig.from_json(data | changes))


def rows(origins: Iterable[TensorOrigin], name: str) -> dict[str | None, TensorOrigin]:
    return {origin.part: origin for origin in origins if origin.tensor == name}


def check_record(student: torch.nn.Module, teacher: Llama, origins: tuple[TensorOrigin, ...]) -> None:
    """Every tensor once, parts from top to bottom without a gap, copies equal to the last bit."""
    theirs = dict(teacher.named_parameters())
    names = [(origin.tensor, origin.part) for origin in origins]
    assert len(set(names)) == len(names)
    for name, parameter in student.named_parameters():
        parts = [origin for origin in origins if origin.tensor == name]
        assert parts and [origin.part for origin in parts].count(None) == (len(parts) == 1)
        assert sum(origin.shape[0] for origin in parts) == parameter.shape[0]
        for origin, its_rows in zip(parts, parameter.split([origin.shape[0] for origin in parts]), strict=True):
            assert tuple(its_rows.shape) == origin.shape
            assert (origin.source is None) == (origin.kind in ("drawn", "constant"))
            if origin.kind == "copied":
                assert torch.equal(its_rows, theirs[origin.source]), origin
    assert {name for name, _ in names} == {name for name, _ in student.named_parameters()}


@pytest.mark.parametrize("kind", ["mamba1", "mamba2"])
def test_a_hybrid_takes_v_k_q_and_o_and_draws_the_rest(kind: str, teacher: Llama) -> None:
    student = hybrid_student(teacher, kind)
    origins = initialise_hybrid(student, teacher, generator())
    check_record(student, teacher, origins)
    attention = "model.layers.0.self_attn."
    parts = rows(origins, "model.layers.0.mamba.in_proj.weight")
    assert {part: (origin.kind, origin.source) for part, origin in parts.items()} == {
        "z": ("drawn", None),
        "x": ("copied", f"{attention}v_proj.weight"),
        "B": ("copied", f"{attention}k_proj.weight"),
        "C": ("copied", f"{attention}q_proj.weight"),
        "dt": ("drawn", None),
    }
    (output,) = rows(origins, "model.layers.0.mamba.out_proj.weight").values()
    assert (output.kind, output.source) == ("copied", f"{attention}o_proj.weight")
    assert list(rows(origins, "model.layers.1.mha.in_proj.weight")) == ["q", "k", "v"]


def test_in_the_published_names_x_is_v_b_is_k_and_c_is_q(teacher: Llama) -> None:
    student = hybrid_student(teacher)
    initialise_hybrid(student, teacher, generator())
    ours, theirs = convert(student.state_dict(), student.config, to="split"), teacher.state_dict()
    for ours_, its in (("in_proj_x", "v_proj"), ("B_proj", "k_proj"), ("C_proj", "q_proj"), ("out_proj", "o_proj")):
        for layer in (0, 2, 3):
            prefix = f"model.layers.{layer}."
            assert torch.equal(ours[f"{prefix}mamba.{ours_}.weight"], theirs[f"{prefix}self_attn.{its}.weight"])


def test_what_a_hybrid_draws_is_distributed_as_published(published: Published) -> None:
    teacher = make_teacher(published())
    student = hybrid_student(teacher)
    initialise_hybrid(student, teacher, generator())
    tensors = student.state_dict()
    prefix = "model.layers.0.mamba."
    z = tensors[f"{prefix}in_proj.weight"][:96]
    assert z.abs().max() <= 96**-0.5 and abs(float(z.std()) - (3 * 96) ** -0.5) < 0.003
    assert tensors[f"{prefix}dt_proj.weight"].abs().max() <= 6**-0.5
    assert tensors[f"{prefix}conv1d.weight"].abs().max() <= 0.5 < 2 * tensors[f"{prefix}conv1d.weight"].abs().max()
    steps = torch.nn.functional.softplus(tensors[f"{prefix}dt_proj.bias"])
    assert 9.9e-4 < steps.min() and steps.max() < 0.1001
    assert torch.equal(tensors[f"{prefix}A_log"], torch.arange(1.0, 17).log().expand(96, 16))
    assert torch.equal(tensors[f"{prefix}D"], torch.ones(96))


def test_a_hybrid_that_keeps_all_attention_is_its_teacher(published: Published) -> None:
    for scaling in ("none", "llama3"):
        teacher = make_teacher(published(**({"rope_scaling": None} if scaling == "none" else {})))
        config = HybridConfig.of_teacher(teacher.config, range(5), rope=scaling)
        student = MambaInLlama(config)
        initialise_hybrid(student, teacher, generator())
        with torch.no_grad():
            assert torch.allclose(student.logits(TOKENS), teacher.logits(TOKENS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("is_tied", [True, False])
def test_a_llamba_takes_everything_but_the_mixers(recipe: str, is_tied: bool, published: Published) -> None:
    teacher = make_teacher(published(tie_word_embeddings=is_tied))
    student = llamba_student(teacher)
    origins = initialise_llamba(student, teacher, generator(), recipe)
    check_record(student, teacher, origins)
    copied = {origin.tensor: origin.source for origin in origins if origin.kind == "copied"}
    for name in ("input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
        assert copied[f"backbone.layers.3.{name}.weight"] == f"model.layers.3.{name}.weight"
    assert copied["backbone.final_layernorm.weight"] == "model.norm.weight"
    assert copied.get("lm_head.weight") == (None if is_tied else "lm_head.weight")
    embedding = rows(origins, "backbone.embedding.weight")
    assert {part: (origin.kind, origin.shape) for part, origin in embedding.items()} == {
        "vocabulary": ("copied", (61, 96)),
        "padding": ("constant", (3, 96)),
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_convolution_and_gate_of_a_fresh_llamba_change_nothing(recipe: str, teacher: Llama) -> None:
    student = llamba_student(teacher)
    initialise_llamba(student, teacher, generator(), recipe)
    mixer = next(iter(student.backbone.blocks)).mixer
    x = torch.randn(2, 9, 288, generator=generator())
    with torch.no_grad():
        convolved = torch.nn.functional.conv1d(
            torch.nn.functional.pad(x.transpose(1, 2), (3, 0)), mixer.conv1d.weight, mixer.conv1d.bias, groups=288
        )
        assert torch.equal(convolved.transpose(1, 2), x)
        z = torch.nn.functional.linear(x[..., :96], mixer.in_proj.weight[288:384])
        assert not z.any()
        assert (torch.nn.functional.silu(z + mixer.z_bias) - 1).abs().max() < 1e-6


def test_the_attention_recipe_starts_as_linear_attention_with_decay_one_half(teacher: Llama) -> None:
    student = llamba_student(teacher)
    origins = initialise_llamba(student, teacher, generator(), "attention")
    kinds = {part: origin.kind for part, origin in rows(origins, "backbone.layers.2.mixer.in_proj.weight").items()}
    assert kinds == {"x": "repeated", "B": "repeated", "C": "copied", "z": "constant", "A_log": "constant"}
    layer, block = list(teacher._layers)[2], list(student.backbone.blocks)[2]
    x = torch.randn(1, 12, 96, generator=generator(), dtype=torch.float64)
    layer.double(), block.double()
    with torch.no_grad():
        q, k, v = (part.unflatten(-1, (-1, 16))[0] for part in layer.self_attn.project(x))  # (T, heads, P)
        expected = torch.zeros(12, 6, 16, dtype=torch.float64)
        for head in range(6):
            for i in range(12):
                for j in range(i + 1):
                    expected[i, head] += 0.5 ** (i - j) * (q[i, head] @ k[j, head // 3]) * v[j, head // 3]
        output = layer.self_attn.output(expected.flatten(1)[None])
        assert torch.allclose(block.mixer(x)[0], output, rtol=0, atol=1e-6)  # the open gate is 1 to 1e-8


def test_heads_are_cut_where_the_state_is_smaller(teacher: Llama) -> None:
    student = llamba_student(teacher, state=8)
    origins = initialise_llamba(student, teacher, generator(), "attention")
    check_record(student, teacher, origins)
    name = "backbone.layers.0.mixer.in_proj.weight"
    kinds = {part: origin.kind for part, origin in rows(origins, name).items()}
    assert kinds == {"x": "repeated", "B": "sliced", "C": "sliced", "z": "constant", "A_log": "constant"}
    b = student.state_dict()[name][96:144].unflatten(0, (6, 8))
    keys = teacher.state_dict()["model.layers.0.self_attn.k_proj.weight"].unflatten(0, (2, 16))[:, :8]
    assert all(torch.equal(b[head], keys[head // 3]) for head in range(6))


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_students_are_a_function_of_the_generator(recipe: str | None, teacher: Llama) -> None:
    def make(seed: int) -> dict[str, torch.Tensor]:
        student = hybrid_student(teacher) if recipe is None else llamba_student(teacher)
        if isinstance(student, MambaInLlama):
            initialise_hybrid(student, teacher, generator(seed))
        else:
            initialise_llamba(student, teacher, generator(seed), recipe)
        return dict(student.state_dict())

    first, again, other = make(5), make(5), make(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(first[name], other[name]) for name in first) == (recipe == "attention")


def test_a_student_in_bfloat16_gets_the_rounded_values(teacher: Llama) -> None:
    exact, rounded = hybrid_student(teacher), hybrid_student(teacher).to(torch.bfloat16)
    for student in (exact, rounded):
        initialise_hybrid(student, teacher, generator())
    expected = {name: tensor.to(torch.bfloat16) for name, tensor in exact.state_dict().items()}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in rounded.state_dict().items())


@pytest.mark.parametrize(("make", "message"), [
    (lambda t: llamba_student(t, n_layer=4), "the student has 4 layers, the teacher 5"),
    (lambda t: llamba_student(t, mlp_cfg={"intermediate_size": 64}), r"mlp.gate_proj.weight of .*\[64, 96\]"),
    (lambda t: llamba_student(t, state=32), r"k_proj.weight has 2 heads of 16: the student's 6 of 32"),
    (lambda t: llamba_student(t, heads=3), r"v_proj.weight has 2 heads of 16: the student's 3 of 32"),
    (lambda t: llamba_student(t, ssm_cfg={"n_v_heads": 6, "n_qk_heads": 6, "bias": True}), "has biases"),
])  # fmt: skip
def test_a_llamba_that_does_not_fit_its_teacher_is_refused(
    make: Callable[[Llama], Llamba], message: str, teacher: Llama
) -> None:
    with pytest.raises(UsageError, match=message):
        initialise_llamba(make(teacher), teacher, generator(), "attention")


def test_a_hybrid_that_does_not_fit_its_teacher_is_refused(published: Published, teacher: Llama) -> None:
    narrow = MambaInLlama(HybridConfig.from_json(published(mamba={"d_xb": 16})))
    with pytest.raises(UsageError, match="mamba.in_proj.weight of the student has 230 rows; .*x 32, B 32"):
        initialise_hybrid(narrow, teacher, generator())
    biased = make_teacher(published(attention_bias=True))
    with pytest.raises(UsageError, match="biases"):
        initialise_hybrid(hybrid_student(teacher), biased, generator())
