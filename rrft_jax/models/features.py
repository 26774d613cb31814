"""Visual features in the places of their tokens, and the name under which a tower's work is known."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Sizes
from rrft_jax.parallel.mesh import constrain

TOWER = "vision_tower"  # the jax.named_scope of a tower, whose work is not split over the tensor axis


def place_features(
    x: Float[HostOrDevice, "B P D"], features: Float[HostOrDevice, "B features D"], prompts: Prompts, sizes: Sizes
) -> Float[Array, "B P D"]:
    """Token embeddings x, the k-th image or video token replaced by the k-th valid visual feature.

    features [B, I * n / merged, D]: of every slot, in merge order; merged patches make one feature.
    """
    merged = sizes.vision.spatial_merge_size**2
    valid = prompts.patch_mask.reshape(x.shape[0], -1)[:, ::merged]
    order = jnp.argsort(~valid, axis=-1, stable=True)  # valid features first, in slot order
    visual = (prompts.tokens == sizes.image_token_id) | (prompts.tokens == sizes.video_token_id)
    visual = visual & prompts.token_mask
    rank = jnp.clip(jnp.cumsum(visual, axis=-1) - 1, 0, valid.shape[1] - 1)
    index = jnp.take_along_axis(order, rank, axis=-1)
    features = jnp.take_along_axis(features, index[..., None], axis=1)
    return constrain(jnp.where(visual[..., None], features, x), "batch", None, None)
