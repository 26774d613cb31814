"""Optimizer state in the host's memory: it lies there between updates, and comes to the device for one.

A device's programs know two memories, its own and a part of the host's that it reads by itself ("pinned_host"). Where
an array lies belongs to its sharding, and inside a program to its type, so the train step needs no setting: what it
finds in the host's memory it brings, and puts back.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jax.sharding import Mesh

MEMORY = "pinned_host"


def check_memory(mesh: Mesh, setting: str) -> None:
    """ValueError where the devices cannot read arrays that lie in their host's memory, which `setting` asks for."""
    device = mesh.devices.flat[0]
    try:
        kinds = [memory.kind for memory in device.addressable_memories()]
    except jax.errors.JaxRuntimeError:  # a backend that does not tell its memories apart
        kinds = []
    if MEMORY not in kinds:
        raise ValueError(
            f"{setting}: {device.device_kind} cannot read its host's memory (no {MEMORY} among its memories: "
            f"{', '.join(kinds) or 'none'}); leave it out, and split parameters over more devices by config.mesh"
        )


def is_moved(leaf: Any) -> bool:
    """Whether a leaf of an optimizer state moves: its averages, of the parameters' shapes, but no counter."""
    return leaf.ndim > 0


def in_host_memory(state: Any, shardings: Any) -> Any:
    """The shardings of an optimizer state whose averages lie in the host's memory."""
    return jax.tree.map(lambda x, s: s.with_memory_kind(MEMORY) if is_moved(x) else s, state, shardings)


def is_offloaded(opt_state: Any) -> bool:
    """Inside jit: whether any of it lies in the host's memory."""
    return any(map(_on_host, jax.tree.leaves(opt_state)))


def one_by_one(update: Callable, opt_state: Any, params: dict, gradient: dict, good: jax.Array) -> tuple[Any, dict]:
    """Inside jit: update(opt_state, params, gradient, good) -> (opt_state, params), for one parameter after the other:
    its averages come to the device when those of the one before have left it, the first ones once `good` is known.

    Left to itself a compiler brings all of them at once, and in advance, to hide the time that it takes: more is on the
    device then than without offload. What `update` computes is traced as a whole and evaluated in another order, so any
    optimizer will do, and every number is the same.
    """
    leaves, tree = jax.tree.flatten((opt_state, params, gradient, good))
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
    traced, out = jax.make_jaxpr(update, return_shape=True)(*jax.tree.unflatten(tree, shapes))
    given = traced.jaxpr.invars
    evaluation = _Evaluation(traced, {v: x for v, x in zip(given, leaves, strict=True) if not _on_host(x)})
    places, state_tree = jax.tree_util.tree_flatten_with_path(opt_state)
    state, new = jax.tree.unflatten(jax.tree.structure(out), traced.jaxpr.outvars)  # variables in place of results
    state, before, back = jax.tree.leaves(state), [good], {}
    for path, variable in jax.tree_util.tree_leaves_with_path(new):
        own = [i for i, (place, x) in enumerate(places) if _on_host(x) and _is_of(place, path)]
        for i in own:
            waiting, *_ = jax.lax.optimization_barrier((leaves[i], *before))
            evaluation.known[given[i]] = jax.device_put(waiting, jax.memory.Space.Device)
        moved = evaluation.values([state[i] for i in own] + [variable])[:-1]
        back |= {i: jax.device_put(x, jax.memory.Space.Host) for i, x in zip(own, moved, strict=True)}
        before = [back[i] for i in own] or before
    counters = [i for i in range(len(state)) if i not in back]
    back |= dict(zip(counters, evaluation.values([state[i] for i in counters]), strict=True))
    variables, tree = jax.tree.flatten(new)
    return state_tree.unflatten([back[i] for i in range(len(state))]), tree.unflatten(evaluation.values(variables))


class _Evaluation:
    """A traced function evaluated on demand: what the variables that are asked for depend on, each equation once.

    known: the values so far, by variable.
    """

    def __init__(self, traced: ClosedJaxpr, inputs: dict[Any, Any]):
        self.known = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True)) | inputs
        self._jaxpr = traced.jaxpr
        self._made_by = {variable: n for n, equation in enumerate(traced.jaxpr.eqns) for variable in equation.outvars}
        self._read = {v for equation in traced.jaxpr.eqns for v in _variables(equation.invars)}
        self._read |= set(_variables(traced.jaxpr.outvars))

    def values(self, atoms: Sequence[Any]) -> list[Any]:
        """Of variables, or literals."""
        numbers: set[int] = set()
        todo = _variables(atoms)
        while todo:
            variable = todo.pop()
            if variable not in self.known and (number := self._made_by[variable]) not in numbers:
                numbers.add(number)
                todo += _variables(self._jaxpr.eqns[number].invars)
        equations = [self._jaxpr.eqns[number] for number in sorted(numbers)]
        given = list(dict.fromkeys(v for e in equations for v in _variables(e.invars) if v in self.known))
        made = [v for equation in equations for v in equation.outvars if v in self._read]
        names = self._jaxpr.debug_info.with_unknown_names()
        part = self._jaxpr.replace(constvars=[], invars=given, outvars=made, eqns=equations, debug_info=names)
        found = jaxpr_as_fun(ClosedJaxpr(part, ()))(*(self.known[v] for v in given))
        self.known |= dict(zip(made, found, strict=True))
        return [atom.val if isinstance(atom, Literal) else self.known[atom] for atom in atoms]


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _is_of(place: tuple, path: tuple) -> bool:
    """Whether a leaf of an optimizer state at `place` belongs to the parameter at `path`."""
    return _keys(place)[-len(path) :] == _keys(path)


def _keys(path: tuple) -> list[str]:
    return [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]


def _on_host(x: Any) -> bool:
    return jax.typeof(x).memory_space == jax.memory.Space.Host
