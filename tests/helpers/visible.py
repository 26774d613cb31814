"""How much of every object of a rendered scene can be seen."""

import numpy as np

from rrft_jax.tasks.scenes.render import far_to_near, object_layer


def visible_shares(things, camera, side=112):
    """float[len(things)]: the share of each object's own pixels that no nearer object covers."""
    shares, open_sky = {}, np.ones((side, side), np.float32)
    for thing in reversed(far_to_near(things, camera)):
        rows, columns, layer = object_layer(thing, camera, side, side)
        shares[thing] = float((layer[3] * open_sky[rows, columns]).sum() / max(layer[3].sum(), 1e-6))
        open_sky[rows, columns] *= 1.0 - layer[3]
    return np.array([shares[thing] for thing in things])
