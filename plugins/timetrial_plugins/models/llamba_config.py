"""The shape of a Llamba, read from the published config.json and written as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from timetrial_registry.error import CheckpointError


@dataclass(frozen=True, kw_only=True, slots=True)
class MixerConfig:
    """`ssm_cfg` in config.json; defaults are those of the published code."""

    d_state: int = 64
    n_v_heads: int = 32
    n_qk_heads: int = 32
    """Groups of heads that share b and c."""
    d_conv: int = 4
    expand: int = 1
    chunk_size: int = 128
    """Tokens that a prompt is read by; the result does not depend on it."""
    activation: str = "identity"
    bias: bool = False
    """Of in_proj and out_proj; the gate's z_bias exists only without it."""
    conv_bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig:
    """`mlp_cfg` in config.json."""

    intermediate_size: int = 14336
    bias: bool = False
    act_fn: str = "silu"


@dataclass(frozen=True, kw_only=True, slots=True)
class LlambaConfig:
    """Names and defaults are those of the published config.json."""

    vocab_size: int
    d_model: int
    n_layer: int = 32
    tie_embeddings: bool = False
    pad_vocab_size_multiple: int = 8
    lm_head_bias: bool = False
    """Of an untied head; the published code gives a tied one no bias."""
    norm_epsilon: float = 1e-5
    """Of the final norm; the blocks' is 1e-5."""
    mlp_cfg: MLPConfig = field(default_factory=MLPConfig)
    ssm_cfg: MixerConfig = field(default_factory=MixerConfig)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LlambaConfig:  # Any: JSON
        """Read a parsed config.json; unknown keys are ignored.

        Raises:
            CheckpointError: names a value that is not what it should be, or that the module cannot honour.
        """
        mlp = _read(MLPConfig, _section(data, "mlp_cfg"), "mlp_cfg.")
        mixer = _read(MixerConfig, _section(data, "ssm_cfg"), "ssm_cfg.")
        config = _read(cls, {**data, "mlp_cfg": mlp, "ssm_cfg": mixer}, "")
        if config.inner_width % mixer.n_v_heads:
            raise _unfit("ssm_cfg.n_v_heads", mixer.n_v_heads, f"a divisor of expand * d_model, {config.inner_width}")
        if mixer.n_v_heads % mixer.n_qk_heads:
            raise _unfit("ssm_cfg.n_qk_heads", mixer.n_qk_heads, f"a divisor of n_v_heads, {mixer.n_v_heads}")
        if mixer.activation != "identity":
            raise _unfit("ssm_cfg.activation", mixer.activation, "'identity', as in all published Llambas")
        if mlp.act_fn != "silu":
            raise _unfit("mlp_cfg.act_fn", mlp.act_fn, "'silu', as in all published Llambas")
        return config

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the content of a config.json that the published code reads as this model."""
        return {"model_type": "llamba", "resid_dropout": 0.0, **asdict(self)}

    @property
    def num_rows(self) -> int:
        """Rows of the embedding and of an untied head: the vocabulary, padded."""
        return -(-self.vocab_size // self.pad_vocab_size_multiple) * self.pad_vocab_size_multiple

    @property
    def inner_width(self) -> int:
        """Channels of all heads together."""
        return self.ssm_cfg.expand * self.d_model

    @property
    def group_width(self) -> int:
        """Values of b, or of c, for all groups together."""
        return self.ssm_cfg.n_qk_heads * self.ssm_cfg.d_state

    @property
    def conv_channels(self) -> int:
        """Channels of the convolution: x, b and c."""
        return self.inner_width + 2 * self.group_width


Record = TypeVar("Record", LlambaConfig, MLPConfig, MixerConfig)
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "int": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "float": (lambda value: isinstance(value, int | float) and value > 0, "a number above 0"),
    "bool": (lambda value: type(value) is bool, "true or false"),
    "str": (lambda value: type(value) is str, "a text"),
}


def _read(kind: type[Record], data: Mapping[str, Any], prefix: str) -> Record:  # Any: JSON
    """Fill a record from the keys of its fields; absent ones and null take the default."""
    values: dict[str, Any] = {}
    for entry in fields(kind):
        value = data.get(entry.name)
        has_default = entry.default is not MISSING or entry.default_factory is not MISSING
        if value is None and has_default:
            continue
        fits, expected = _KINDS.get(str(entry.type), (None, ""))  # a section has been read before
        if fits is not None and not fits(value):
            raise _unfit(prefix + entry.name, value, expected)
        values[entry.name] = value
    return kind(**values)


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:  # Any: JSON
    section = data.get(name)
    if not isinstance(section, Mapping | None):
        raise _unfit(name, section, "an object")
    return section or {}


def _unfit(name: str, value: object, expected: str) -> CheckpointError:
    found = "missing" if value is None else repr(value)
    return CheckpointError(f"config.json of a llamba: {name} is {found}; expected {expected}")
