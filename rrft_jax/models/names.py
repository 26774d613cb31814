"""A family's table of names: its parameters in our tree, and the tensors of HuggingFace directories."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Renames = Sequence[tuple[str, str]]  # (regular expression at the start of a name, replacement); the first that fits


@dataclass(frozen=True)
class TensorNames:
    """modules: our module ('language/layers/q') -> the published one; '{}' in it is a layer's number, where ours is a
    stack of all layers. Leaves are `bias` there as here, and `weight` for kernel, scale and embedding.

    convolutions: our module -> the shape [out, ...] in the file of a kernel that ours holds as [in, out].
    aliases: from names in use besides the published ones to these. module_names: from published names to those of
    transformers' modules today, which PEFT looks for.
    """

    modules: Mapping[str, str]
    convolutions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    aliases: Renames = ()
    module_names: Renames = ()

    def published(self, path: str) -> tuple[str, bool]:
        """The published tensor name of our leaf `path` ('language/layers/q/kernel') and whether it is one per layer:
        then it holds '{}' for the layer's number."""
        module, leaf = path.rsplit("/", 1)
        name = self.modules[module]
        return f"{name}.{'bias' if leaf == 'bias' else 'weight'}", "{}" in name

    def shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape in the file of our leaf `path`, whose shape of one layer is `shape`."""
        module, leaf = path.rsplit("/", 1)
        if leaf != "kernel":
            return shape
        return self.convolutions.get(module, shape[::-1])

    def canonical(self, name: str) -> str:
        """The published name of a tensor or module stored under any of the names in use."""
        return _renamed(name, self.aliases)

    def in_transformers(self, name: str) -> str:
        """The name of a published module in transformers today."""
        return _renamed(name, self.module_names)

    @property
    def embedding(self) -> str:
        """The tensor of the token embedding."""
        return self.published("language/embed/embedding")[0]

    @property
    def head(self) -> str:
        """The LM head's tensor, which a file of tied weights may hold a second time."""
        return self.published("language/lm_head/embedding")[0]


def is_constant(name: str) -> bool:
    """Whether a stored tensor follows from the sizes: older releases stored inverse frequencies."""
    return "inv_freq" in name


def _renamed(name: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", replacement, name)
    return name
