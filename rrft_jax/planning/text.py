"""The reports of ahead-of-time compilation in words: a block per program, the step's time, what to change."""

import re
from collections import defaultdict
from collections.abc import Sequence

from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.models.attention import choose
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import family_of
from rrft_jax.parallel.chips import GIB, Chip
from rrft_jax.parallel.mesh import AXES
from rrft_jax.planning.compile import Report
from rrft_jax.planning.device_memory import Drawing, MemoryPlan, chunk_size, lent_config, loan_of
from rrft_jax.planning.shapes import largest_bucket
from rrft_jax.planning.smallest import smallest_fit
from rrft_jax.processing.images import resized, shrunk
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.programs import step_layout

SHOWN = 5


def headline(config: ConfigDict, sizes: Sizes, mesh: Mesh, chip: Chip) -> str:
    """What is compiled, for what."""
    bucket, axes = largest_bucket(config), " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    layout = step_layout(read(config, "train"), get_algorithm(config.algorithm).group(config), mesh)
    group, parts = layout.group, layout.update.micro_batches
    stage = "stage 2 of 2 (stage 1 has a recipe of its own; --plan plans both): " if config.stage1 else ""
    return (
        f"{stage}{config.algorithm} of {config.init} ({sizes.num_layers} layers, width {sizes.hidden_size}) on "
        f"{mesh.size} x {chip.name} ({axes}): {config.train.prompts} prompts per step in {parts} micro-batches, "
        f"groups of {group} in {config.train.group_chunks} parts, prompt {bucket.prompt_tokens}, completion "
        f"{config.rollout.max_completion_length} tokens, {bucket.images} image(s) of {bucket.patches} patches, "
        f"{config.model.dtype}, remat {config.model.remat}, logits chunk {config.model.logits_chunk}, attention "
        f"{choose(config.model.attention, mesh.devices.flat[0].platform, config.model.dtype)}"
    )


def describe_program(report: Report, chip: Chip) -> str:
    """One program: memory against the chip's, work, the largest collectives, time."""
    lines = [f"{report.name}: compiled in {report.compile_seconds:.0f} s"]
    if report.memory is None:
        lines = [f"{report.name}: DOES NOT FIT", *("  " + line for line in _refusal(report.refused))]
    else:
        m = report.memory
        of = f" of {chip.hbm / GIB:.2f} GiB" + ("" if report.fits(chip) else ": DOES NOT FIT") if chip.hbm else ""
        lines += [
            f"  memory per device   {m.peak / GIB:.2f} GiB{of} = arguments {m.arguments / GIB:.2f} + temporaries and "
            f"results {m.temporaries / GIB:.2f} + resident besides {m.resident / GIB:.2f}",
            f"  dots                {report.flops / 1e12:.2f} TFLOP (counted in the traced program, loops by their "
            "length)",
            f"  memory traffic      {report.traffic / 1e9:.1f} GB (estimated from the compiled text)",
            f"  interconnect        {report.received / 1e9:.2f} GB received in collectives",
        ]
        lines += [f"    {line}" for line in _collectives(report)]
        if report.seconds:
            parts = ", ".join(f"{name} {s:.3f} s" for name, s in report.seconds.items())
            lines.append(f"  takes at least      {report.bound:.3f} s ({parts})")
        lines.append("  largest arrays      " + "; ".join(_array(*a) for a in report.largest[:3]))
    return "\n".join(lines)


def summary(
    reports: Sequence[Report], chip: Chip, config: ConfigDict, sizes: Sizes, mesh: Mesh, plan: MemoryPlan
) -> str:
    """The result: time per step, or the settings that would help."""
    failed = [r for r in reports if not r.fits(chip)]
    if failed:
        what = ", ".join(r.name for r in failed)
        fitting = smallest_fit(config, sizes, chip, mesh.devices.flat[0].platform)
        tips = "\n".join(f"  - {line}" for line in (fitting, *advice(config, sizes, mesh)))
        return f"does not fit: {what}\n  what would help:\n{tips}"
    total = sum(r.bound for r in reports)
    fits = f"fits: at most {max(r.memory.peak for r in reports if r.memory) / GIB:.2f} GiB per device"
    if not plan.evaluation_fits(chip.hbm):
        return f"does not fit: the held-out evaluation, as planned. What is compiled {fits}"
    if not total:
        return fits
    parts = " + ".join(f"{r.name} {r.bound:.2f}" for r in reports)
    return (
        f"{fits}; a step takes at least {total:.2f} s ({parts}) at the chip's stated speeds, rewards on the host aside"
    )


def evaluation_note(plan: MemoryPlan, chip: Chip) -> str:
    """What the held-out evaluation needs, which is planned, not compiled; empty where there is none."""
    if plan.evaluation is None:
        return ""
    return f"held-out evaluation, planned and not compiled: {plan.evaluating / GIB:.2f} GiB per device" + (
        ""
        if plan.evaluation_fits(chip.hbm)
        else f" of {chip.hbm / GIB:.2f} GiB: DOES NOT FIT, lower config.eval.batch"
    )


def advice(config: ConfigDict, sizes: Sizes, mesh: Mesh) -> list[str]:
    """Settings that would lower memory and are not at their end yet, with what each costs."""
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    step = step_layout(read(config, "train"), get_algorithm(config.algorithm).group(config), mesh)
    layout = step.update
    rows, members = layout.rows // layout.micro_batches, step.group // layout.split
    tips = []
    if data > 1:
        tips.append(
            f"{_sizes(config, 1, data * fsdp, tensor)}: parameters and optimizer over all {mesh.size} devices, now "
            f"{fsdp * tensor}"
        )
    if rows > data * fsdp:
        tips.append(f"config.train.micro_batches=0: {data * fsdp} rows in memory at a time, now {rows}")
    if config.train.group_chunks < members:
        tips.append(
            f"config.train.group_chunks={min(members, config.train.group_chunks * 2)}: fewer members of a group at a "
            f"time (now {members // config.train.group_chunks}; costs up to an eighth of the time)"
        )
    if config.model.remat not in ("full", "offload"):
        tips.append("config.model.remat=full: layers are computed again in the backward pass")
    if not config.optimizer.offload and not config.lora.rank:
        tips.append("config.optimizer.offload=True: moments in the host's memory (each update waits for them)")
    if config.model.logits_chunk > 8:
        tips.append(f"config.model.logits_chunk={config.model.logits_chunk // 2}: smaller float32 logits")
    if sizes.num_kv_heads % (2 * tensor) == 0 and data * fsdp % 2 == 0:
        halved = (data, fsdp // 2) if fsdp % 2 == 0 else (data // 2, fsdp)
        given = _sizes(config, *halved, 2 * tensor)
        tips.append(f"{given}: heads and vocabulary split further, for more communication")
    if config.train.prompts > data * fsdp:
        tips.append(f"config.train.prompts={data * fsdp}: fewer prompts per step, which is another recipe")
    return [*tips, "shorter config.buckets or config.rollout.max_completion_length, or a larger slice"]


def _sizes(config: ConfigDict, *sizes: int) -> str:
    """The flags of a mesh in place of the one that the config asks for."""
    flags = " ".join(f"config.mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    return flags + (" without config.mesh.preset" if config.mesh.preset else "")


def _refusal(message: str) -> list[str]:
    """The compiler's own account: how much was wanted, and its largest allocations."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    kept = lines[:1]
    for line in lines[1:]:
        if re.match(r"(Total hbm usage|\d+\. Size:|Shape:|Used )", line):
            kept.append(line)
        elif found := re.search(r'op_name="([^"]*)"', line):
            kept.append(f"from {found[1][-100:]}")
    return kept[:25]


def _collectives(report: Report) -> list[str]:
    """The kinds and places that move most, alike ones added up."""
    found: dict[tuple, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for c in report.collectives:
        entry = found[(c.kind, c.shape, c.group, _place(c.op_name))]
        entry[0] += c.runs
        entry[1] += c.moved
    rows = sorted(found.items(), key=lambda item: -item[1][1])
    lines = [
        f"{kind} {shape} over {group}, {runs:.0f} times, {moved / 1e9:.2f} GB: {place}"
        for (kind, shape, group, place), (runs, moved) in rows[:SHOWN]
        if moved > 1e6
    ]
    rest = sum(moved for _, (_, moved) in rows[SHOWN:])
    return lines + ([f"others {rest / 1e9:.2f} GB"] if rest > 1e7 else [])


def _place(op_name: str) -> str:
    noise = ("while", "body", "closed_call", "checkpoint", "rematted_computation")
    return "/".join(part for part in op_name.split("/") if part not in noise)[-70:] or "?"


def _array(shape: str, size: int, where: str) -> str:
    return f"{shape} {size / 2**20:,.0f} MiB ({_place(where)})"


PICTURES = ((320, 480), (480, 640), (1080, 1920))  # height and width in pixels, to say what they become


def picture_tokens(config: ConfigDict, sizes: Sizes, limits: tuple[int, int] | None = None) -> str:
    """How many visual tokens pictures become. limits: min_pixels, max_pixels of the model's directory."""
    low, high = limits or family_of(sizes).pixel_limits
    low, high = config.processor.min_pixels or low, config.processor.max_pixels or high
    side = sizes.vision.patch_size * sizes.vision.spatial_merge_size

    def tokens(height: int, width: int) -> int:
        h, w = resized(*shrunk(height, width, config.processor.nearest_pixels), side, low, high)
        return h * w // side**2

    bucket = largest_bucket(config)
    some = ", ".join(f"{w}x{h} gives {tokens(h, w)}" for h, w in PICTURES)
    return (
        f"one per {side}x{side} pixels, at most {high // side**2} by max_pixels={high} and "
        f"{bucket.patches // sizes.vision.spatial_merge_size**2} by config.buckets.patches={bucket.patches}; {some}"
    )


def describe_plan(plan: MemoryPlan, config: ConfigDict, sizes: Sizes, mesh: Mesh, visual: str) -> str:
    """The plan as `launch/train.py --dry-run` prints it."""
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    blocks = [
        [
            (f"parameters, trained ({config.model.trained_dtype})", plan.parameters),
            ("parameters, frozen", plan.frozen),
            *([("reference policy, besides what is frozen", plan.reference)] if plan.rollout else []),
            ("optimizer (two moments)" + ", but for those on the host" * bool(plan.moving), plan.optimizer),
            *([("batches that wait: drawn ahead, or trained on in parts", plan.waiting)] if plan.waiting else []),
            *([("a quantised kernel at a time, in every phase", plan.kernel)] if plan.kernel else []),
            ("resident all the time", plan.resident),
        ]
    ]
    if plan.counted:
        lines = _drawing_lines(plan.counted, config, config.train.prompts, "prompts", config.data.filter_rollouts)
        blocks.append([*lines, ("rollouts of the filter, before there is an optimizer", plan.filtering)])
    if plan.rollout:
        lines = _drawing_lines(plan.rollout, config, config.train.prompts, "prompts", config.rollout.group)
        blocks.append([*lines, ("sampling, with what is resident (reading, or decoding)", plan.sampling)])
    loan = loan_of(config)
    if plan.lent and loan:
        lines = _drawing_lines(plan.lent, lent_config(config, loan), loan.rows, "chats", 1)
        blocks.append([
            ("an adapter over the frozen base, and the chats", plan.lent.batch), *lines,
            ("a reward that the frozen base answers, with what is resident", plan.lending),
        ])  # fmt: skip
    blocks.append([
        ("gradients", plan.gradients),
        (f"activations of a micro-batch (estimate, remat {config.model.remat})", plan.activations),
        (f"logits of a chunk of {chunk_size(config)} tokens, forward and backward", plan.logits),
        ("batch: patches, tokens, positions", plan.batch),
        *([("or later the gradient, and moments of one parameter at a time", plan.moving)] if plan.moving else []),
        ("update, with what is resident", plan.updating),
    ])  # fmt: skip
    if plan.evaluation:
        lines = _drawing_lines(plan.evaluation, config, config.eval.batch, "held-out prompts", 1)
        blocks.append([*lines, ("evaluation, with what is resident (reading, or decoding)", plan.evaluating)])
    blocks.append([("the most at any time", plan.most)])
    host = [("weights while they are read: the largest leaf's part, a layer", plan.host.reading)]
    if plan.host.shards:
        host.append(("and the arrays they become, in the same memory on CPU devices", plan.host.shards))
    if plan.host.moments:
        host.append(("the optimizer's moments", plan.host.moments))
    if plan.host.activations:
        host.append(("the inputs of layers, for the backward pass", plan.host.activations))
    host.append(("training batches being made, waiting and in use", plan.host.batches))
    if plan.evaluation:
        host.append(("held-out batches that are kept, in use and being made: at most", plan.host.held_out))
    lines = [f"memory per device, {mesh.size} device(s) ({axes}), for the largest bucket:"]
    for block in blocks:
        lines += [*map(_line, block), ""]
    return "\n".join([
        *lines,
        "memory of a host process:",
        *map(_line, host),
        "",
        f"visual tokens per image: {visual}",
        "activations: what the backward pass keeps of each layer, and three float32 copies of the largest layer's "
        "attention scores; launch/compile.py gives the compiler's own figure",
    ])  # fmt: skip


def _line(row: tuple[str, int]) -> str:
    return f"  {row[0]:<66}{row[1] / GIB:10.3f} GiB"


def _drawing_lines(drawing: Drawing, config: ConfigDict, prompts: int, kind: str, group: int) -> list[tuple[str, int]]:
    each = f"KV cache of {group} completion{'s' * (group > 1)} each, {config.rollout.max_completion_length} tokens"
    shorter = [("and the shorter cache that it is copied from", drawing.growing)]
    smaller = [("and of the smaller batch in which the unfinished continue", drawing.compacted)]
    return [
        ("activations while prompts are read (estimate)", drawing.prefill),
        (f"decoding: weights in {config.model.dtype}, whole over fsdp", drawing.weights),
        (f"KV cache of {prompts} {kind} of {largest_bucket(config).prompt_tokens} tokens", drawing.prompt_cache),
        (each, drawing.completion_cache),
        *(smaller if drawing.compacted else []),
        *(shorter if drawing.growing > drawing.compacted else []),
        ("logits of one token", drawing.logits),
    ]
