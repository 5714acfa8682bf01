"""From a family's name and a config to its module. Importing this imports torch: the plugin does so when it loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama

# Any: JSON, and each family has its own state
BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], CausalModule[Any]]] = {
    "llama": lambda config: Llama(LlamaConfig.from_json(config)),
    "llamba": lambda config: Llamba(LlambaConfig.from_json(config)),
    "mamba_in_llama": lambda config: MambaInLlama(HybridConfig.from_json(config)),
}
"""How a family's module is made of a parsed config.json (a hybrid's holds mamba_config.json as well)."""
