"""The shape of a MambaInLlama hybrid, read from the published pair of files: config.json and mamba_config.json.

config.json is that of the Llama it was made of, mamba_config.json says what its Mamba layers are. Field names are
those of the published files; both are one mapping here, mamba_config.json under the key "mamba_config".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from timetrial_plugins.models.layers import Llama3Scaling
from timetrial_plugins.models.llama import LlamaConfig
from timetrial_registry.checkpoint import COMPANION
from timetrial_registry.error import CheckpointError

Mixer = Literal["mamba1", "mamba2"]
RopeConvention = Literal["none", "llama3"]

CONVENTIONS = "timetrial"
"""The key of config.json under which a checkpoint trained here says what the published ones leave to their code."""
PUBLISHED_MULTIPLICITY: Mapping[Mixer, int] = {"mamba1": 2, "mamba2": 1}
"""How often the published code adds the bias of dt: the Mamba-1 layers once in a Linear and once more in the scan."""

# What mamba_config.json repeats of config.json, under its own names.
_REPEATED = {
    "d_model": "hidden_size",
    "n_layer": "num_hidden_layers",
    "intermediate_size": "intermediate_size",
    "rms_norm_eps": "rms_norm_eps",
    "hidden_act": "hidden_act",
}
# Options of the published layers that change what they compute, with the only value known here.
_FIXED_OPTIONS: Mapping[Mixer, Mapping[str, bool | None]] = {
    "mamba1": {"repeat_kv_before_conv": True, "conv_bias": True},
    "mamba2": {
        "repeat_kv_before_conv": False,
        "conv_bias": True,
        "bias": False,
        "rmsnorm": True,
        "norm_before_gate": False,
        "D_has_hdim": False,
        "d_ssm": None,
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HybridConfig:
    """The shape of a hybrid, and the conventions by which its weights are read."""

    llama: LlamaConfig
    """Embedding, MLPs and attention layers."""
    mixer: Mixer
    attn_layers: tuple[int, ...]
    """The layers that keep attention, ascending."""
    d_inner: int
    """Channels of z and C, and of x once repeated."""
    d_xb: int
    """Channels of x and B as projected."""
    d_state: int = 16
    """N. Mamba-1 heads are as wide; those of Mamba-2 as well."""
    d_conv: int = 4
    dt_rank: int = 0
    """Width of the bottleneck in front of dt; only Mamba-1 has one."""
    dt_bias_multiplicity: int = 1
    """How often the stored bias of dt counts."""
    rope: RopeConvention = "none"
    """Whether attention uses config.json's RoPE scaling; the published inference code does not."""

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built.

        Raises:
            CheckpointError: says which numbers do not go together.
        """
        if self.d_inner % self.d_xb or self.d_xb % self.d_state:
            raise CheckpointError(
                f"mamba_config.json: d_inner {self.d_inner} must be a multiple of d_xb {self.d_xb}, "
                f"and that of the state size {self.d_state}"
            )
        layers = range(self.llama.num_hidden_layers)
        if list(self.attn_layers) != sorted({*self.attn_layers} & {*layers}):
            raise CheckpointError(
                f"mamba_config.json: attn_layers is {list(self.attn_layers)}: expected different layers from 0 to "
                f"{len(layers) - 1}, ascending"
            )
        if self.rope == "llama3" and self.llama.rope_scaling is None:
            raise CheckpointError("config.json asks for llama3 RoPE in the attention layers, but has no rope_scaling")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HybridConfig:
        """Read a parsed config.json with mamba_config.json under "mamba_config"; unknown keys are ignored.

        Without a word about conventions they are those of the published inference code.

        Raises:
            CheckpointError: a key is missing or contradicts another, or asks for something these layers do not do.
        """
        mamba = data.get(COMPANION)
        if not isinstance(mamba, Mapping):
            raise CheckpointError("a hybrid needs a mamba_config.json beside its config.json, with attn_layers in it")
        llama = LlamaConfig.from_json(data)
        _refuse_contradictions(mamba, data)
        ssm = _section(mamba, "ssm_cfg", "mamba_config.json")
        mixer: Mixer = "mamba2" if "ngroups" in ssm else "mamba1"
        _refuse_options(ssm, mixer)
        d_inner = _whole(mamba, "d_inner", default=_whole(ssm, "expand", default=1) * llama.hidden_size)
        d_state = _whole(ssm, "d_state", default=16)
        if mixer == "mamba2" and (groups := _whole(ssm, "ngroups")) * d_state != d_inner:
            raise CheckpointError(
                f"mamba_config.json: {groups} groups of state size {d_state} do not make d_inner {d_inner}"
            )
        return cls(
            llama=llama,
            mixer=mixer,
            attn_layers=_attention_layers(mamba),
            d_inner=d_inner,
            d_xb=_whole(mamba, "d_xb"),
            d_state=d_state,
            d_conv=_whole(ssm, "d_conv", default=4),
            dt_rank=_dt_rank(ssm, llama.hidden_size) if mixer == "mamba1" else 0,
            **_conventions(data, mixer),
        )

    @classmethod
    def of_teacher(
        cls, llama: LlamaConfig, attn_layers: Iterable[int], mixer: Mixer = "mamba1", rope: RopeConvention = "none"
    ) -> HybridConfig:
        """Return the published shape of a student of `llama`, in which the bias of dt counts once.

        With `rope` "none" the published code can compute what the student was trained to compute; "llama3" keeps the
        angles of a teacher that has a scaling.
        """
        return cls(
            llama=llama,
            mixer=mixer,
            attn_layers=tuple(attn_layers),
            d_inner=llama.num_attention_heads * llama.head_dim,
            d_xb=llama.num_key_value_heads * llama.head_dim,
            d_state=16 if mixer == "mamba1" else llama.head_dim,
            dt_rank=math.ceil(llama.hidden_size / 16) if mixer == "mamba1" else 0,
            rope=rope,
        )

    @property
    def num_heads(self) -> int:
        """Heads of a Mamba layer once x and B are repeated."""
        return self.d_inner // self.d_state

    @property
    def repeat(self) -> int:
        """How many heads share one projected head of x and B."""
        return self.d_inner // self.d_xb

    @property
    def part_rows(self) -> Mapping[str, int]:
        """The rows of a Mamba layer's in_proj, in order."""
        dt = self.dt_rank if self.mixer == "mamba1" else self.num_heads
        return {"z": self.d_inner, "x": self.d_xb, "B": self.d_xb, "C": self.d_inner, "dt": dt}

    @property
    def window_shape(self) -> tuple[int, int]:
        """What a Mamba layer keeps for its convolution, (C, K - 1)."""
        channels = self.d_inner if self.mixer == "mamba1" else self.d_inner + 2 * self.d_xb
        return channels, self.d_conv - 1

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """The recurrent state of a Mamba layer, (H, P, N)."""
        return self.num_heads, self.d_state, self.d_state

    @property
    def num_mamba_layers(self) -> int:
        """Layers without attention."""
        return self.llama.num_hidden_layers - len(self.attn_layers)

    @property
    def rope_scaling(self) -> Llama3Scaling | None:
        """The scaling that attention uses."""
        return self.llama.rope_scaling if self.rope == "llama3" else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of config.json: the Llama's, and the conventions, which the published code ignores."""
        conventions = {"dt_bias_multiplicity": self.dt_bias_multiplicity, "rope_scaling": self.rope}
        return {**self.llama.to_json(), CONVENTIONS: conventions}

    def companion_json(self) -> dict[str, Any]:
        """Return the content of mamba_config.json, with no key that the published code does not know."""
        ssm: dict[str, Any] = {"expand": 1}
        if self.mixer == "mamba2":
            ssm |= {"ngroups": self.num_heads, "d_state": self.d_state}
        elif self.d_state != 16:
            ssm["d_state"] = self.d_state
        if self.d_conv != 4:
            ssm["d_conv"] = self.d_conv
        if self.mixer == "mamba1" and self.dt_rank != math.ceil(self.llama.hidden_size / 16):
            ssm["dt_rank"] = self.dt_rank
        return {
            "d_model": self.llama.hidden_size,
            "ssm_cfg": ssm,
            "rms_norm_eps": self.llama.rms_norm_eps,
            "vocab_size": None,
            "d_inner": self.d_inner,
            "d_xb": self.d_xb,
            "intermediate_size": self.llama.intermediate_size,
            "hidden_act": "silu",
            "n_layer": self.llama.num_hidden_layers,
            "attn_layers": list(self.attn_layers),
        }


def _refuse_contradictions(mamba: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    for name, its_name in _REPEATED.items():
        ours, theirs = mamba.get(name), config.get(its_name)
        if ours is not None and theirs is not None and ours != theirs:
            raise CheckpointError(f"mamba_config.json says {name} {ours!r}, config.json says {its_name} {theirs!r}")


def _refuse_options(ssm: Mapping[str, Any], mixer: Mixer) -> None:
    for name, value in _FIXED_OPTIONS[mixer].items():
        if ssm.get(name, value) != value:
            raise CheckpointError(f"mamba_config.json: ssm_cfg has {name} {ssm[name]!r}; these layers have {value!r}")


def _section(data: Mapping[str, Any], name: str, file: str) -> Mapping[str, Any]:
    section = data.get(name)
    if not isinstance(section, Mapping | None):
        raise CheckpointError(f"{file}: {name} is {section!r}; expected an object")
    return section or {}


def _whole(data: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = data.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"mamba_config.json: {name} is {value!r}; expected a positive whole number")
    return value


def _attention_layers(mamba: Mapping[str, Any]) -> tuple[int, ...]:
    layers = mamba.get("attn_layers")
    if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
        raise CheckpointError(f"mamba_config.json: attn_layers is {layers!r}; expected a list of layer numbers")
    return tuple(sorted(layers))


def _dt_rank(ssm: Mapping[str, Any], width: int) -> int:
    given = ssm.get("dt_rank", "auto")
    return math.ceil(width / 16) if given == "auto" else _whole(ssm, "dt_rank")


def _conventions(data: Mapping[str, Any], mixer: Mixer) -> dict[str, Any]:
    said = _section(data, CONVENTIONS, "config.json")
    multiplicity = said.get("dt_bias_multiplicity", PUBLISHED_MULTIPLICITY[mixer])
    if type(multiplicity) is not int or multiplicity not in (1, 2):
        raise CheckpointError(f"config.json: dt_bias_multiplicity is {multiplicity!r}; expected 1 or 2")
    rope = said.get("rope_scaling", "none")
    if rope not in ("none", "llama3"):
        raise CheckpointError(f"config.json: {CONVENTIONS}.rope_scaling is {rope!r}; expected 'none' or 'llama3'")
    return {"dt_bias_multiplicity": multiplicity, "rope": cast("RopeConvention", rope)}
