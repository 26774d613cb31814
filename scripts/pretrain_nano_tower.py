"""Pre-trains nano's vision tower by itself, before `pretrain_nano.py` joins it to the decoder.

    python scripts/pretrain_nano_tower.py --workdir=workdirs/pretrain_nano

Each object gets a visual token of its own, the nearest by the cheapest matching; that token learns to name the object
(size, colour, material, shape) and its rank from left to right, which is the order in which objects are spoken. Through
the decoder alone the tower saw colour and size after 1,000 steps, but shape and material stood at chance after 1,850.
Deterministic and resumable; writes tower.safetensors into the workdir.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from nano_sizes import make_pretraining_optimizer, nano_config
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment

from rrft_jax.data.loader import make_loader
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.model import Qwen2VL, encode_images, init_params
from rrft_jax.models.qwen2_vl.weights import leaf_paths
from rrft_jax.processing.images import image_patches
from rrft_jax.processing.positions import patch_positions
from rrft_jax.processing.processor import Processor, load_processor
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.shapes import COLOURS, SHAPES
from rrft_jax.tasks.scenes.things import place
from rrft_jax.tasks.visual_counting.generator import scene_and_question
from rrft_jax.tasks.visual_counting.scene import IN, MATERIALS, SIZES
from rrft_jax.training.checkpoints import Checkpoints

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "workdirs/pretrain_nano", "Checkpoints and the result; resumed when it exists.")
flags.DEFINE_string("processor", "rrft_jax/assets/nano", "Directory of the tokenizer and image processor.")
flags.DEFINE_integer("steps", 1500, "Optimizer steps.")

flags.DEFINE_float("peak", 4e-3, "Peak learning rate.")

SEED = 20251120
BATCH, SIDE, CELL = 64, 112, 28  # CELL: pixels a side of what one visual token sees
CELLS = SIDE // CELL
NAMES = (SIZES, tuple(COLOURS), MATERIALS, SHAPES, tuple(range(IN.max_objects)))
SHOWN = ("size", "colour", "material", "shape", "rank", "here")
ENDS = np.cumsum([0, *map(len, NAMES), 2])  # logits: attributes and rank, then whether an object is here at all
CENTRES = CELL * (np.indices((CELLS, CELLS)).reshape(2, -1).T + 0.5)  # row, column of each visual token's middle


def make_batch(processor: Processor, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches float32[B, 1, 64, 1176] and labels int32[B, 16, 5], -1 for a token that is no object's."""
    patches = np.zeros((BATCH, 1, (SIDE // 14) ** 2, 1176), np.float32)
    labels = np.full((BATCH, CELLS**2, len(NAMES)), -1, np.int32)
    for row in range(BATCH):
        scene, _ = scene_and_question(SEED, step * BATCH + row, "tower")
        picture = render(scene.things, scene.domain.view, SIDE, SIDE)
        patches[row, 0] = image_patches(processor.image_processor, picture)[0]
        at = np.array([place(thing, scene.domain.view)[::-1] * SIDE for thing in scene.things])  # row, column
        cost = np.sum((at[:, None] - CENTRES) ** 2, axis=-1)
        for rank, cell in zip(*linear_sum_assignment(cost), strict=True):
            given = (*scene.things[rank].attributes(), rank)
            labels[row, cell] = [names.index(value) for names, value in zip(NAMES, given, strict=True)]
    return patches, labels


def make_step(model: Qwen2VL, optimizer: optax.GradientTransformation):
    where = jnp.asarray(patch_positions(SIDE // 14, SIDE // 14, 2))

    def loss(params, patches, labels):
        shape = patches.shape[:3]
        prompts = Prompts(
            None, None, None, None, None, patches, jnp.ones(shape, bool), jnp.broadcast_to(where, (*shape, 2))
        )  # fmt: skip
        logits = encode_images(model, params, prompts) @ params["head"]
        here = labels[..., 0] >= 0
        losses = []
        for k in range(len(NAMES)):
            log_p = jax.nn.log_softmax(logits[..., ENDS[k] : ENDS[k + 1]])
            hit = jnp.take_along_axis(log_p, jnp.maximum(labels[..., k : k + 1], 0), -1)[..., 0]
            losses.append(-jnp.sum(hit * here) / here.sum())
        log_p = jax.nn.log_softmax(logits[..., ENDS[-2] :])
        losses.append(-jnp.take_along_axis(log_p, here[..., None].astype(int), -1).mean())
        return sum(losses), jnp.stack(losses)

    def step(state, patches, labels):
        (_, losses), gradient = jax.value_and_grad(loss, has_aux=True)(state["params"], patches, labels)
        updates, opt_state = optimizer.update(gradient, state["opt_state"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}, losses

    return jax.jit(step, donate_argnums=0)


def main(_):
    workdir = Path(FLAGS.workdir)
    processor = load_processor(FLAGS.processor)
    model = Qwen2VL(nano_config(processor))
    key = jax.random.key(SEED)
    head = 0.01 * jax.random.normal(key, (model.config.hidden_size, int(ENDS[-1])))
    params = {"vision": init_params(model, key)["vision"], "head": head}
    optimizer, _ = make_pretraining_optimizer(FLAGS.peak, FLAGS.steps)
    state = {"params": params, "opt_state": optimizer.init(params)}
    step_fn = make_step(model, optimizer)
    with Checkpoints(workdir / "tower_checkpoints", keep_last=1, keep_best=0) as checkpoints:
        start = 0
        if checkpoints.latest_step() is not None:
            state, _, start = checkpoints.restore(state)
        recent = []
        fetch = lambda t: make_batch(processor, t)  # noqa: E731
        for step, batch in zip(range(start, FLAGS.steps), make_loader(fetch, start, FLAGS.steps, 8, 2), strict=True):
            state, losses = step_fn(state, *batch)
            recent.append(losses)
            if (step + 1) % 50 == 0:
                shown = " ".join(f"{n} {x:.3f}" for n, x in zip(SHOWN, np.mean(recent, 0), strict=True))
                print(f"step {step + 1} nats: {shown}", flush=True)
                recent = []
            if (step + 1) % 250 == 0 or step + 1 == FLAGS.steps:
                checkpoints.save(step + 1, state, {})
    leaves = leaf_paths({"vision": state["params"]["vision"]})
    save_file({name: np.asarray(x) for name, x in leaves.items()}, workdir / "tower.safetensors")


if __name__ == "__main__":
    app.run(main)
