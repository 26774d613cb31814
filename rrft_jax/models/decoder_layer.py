"""A decoder layer, split where the cache comes in: project, (the caller attends), finish."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.layers import Dense, RMSNorm
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.rope import rotate


class DecoderLayer(nn.Module):
    """qkv_bias: biases at q, k and v; qk_norm: a norm of each head's queries and keys before they are rotated."""

    config: Sizes
    dtype: Any = jnp.float32
    qkv_bias: bool = True
    qk_norm: bool = False

    def setup(self) -> None:
        c, dtype = self.config, self.dtype
        self.input_norm = RMSNorm(c.rms_norm_eps, dtype)
        self.post_norm = RMSNorm(c.rms_norm_eps, dtype)
        self.q = Dense(c.num_heads * c.head_dim, use_bias=self.qkv_bias, dtype=dtype)
        self.k = Dense(c.num_kv_heads * c.head_dim, use_bias=self.qkv_bias, dtype=dtype)
        self.v = Dense(c.num_kv_heads * c.head_dim, use_bias=self.qkv_bias, dtype=dtype)
        self.o = Dense(c.hidden_size, use_bias=False, dtype=dtype)
        if self.qk_norm:
            self.q_norm, self.k_norm = RMSNorm(c.rms_norm_eps, dtype), RMSNorm(c.rms_norm_eps, dtype)
        self.gate = Dense(c.intermediate_size, use_bias=False, dtype=dtype)
        self.up = Dense(c.intermediate_size, use_bias=False, dtype=dtype)
        self.down = Dense(c.hidden_size, use_bias=False, dtype=dtype)

    def project(
        self,
        x: Float[HostOrDevice, "B G T D"],
        cos: Float[HostOrDevice, "B G T half"],
        sin: Float[HostOrDevice, "B G T half"],
    ) -> tuple[Float[Array, "B G T H A"], Float[Array, "B G K T A"], Float[Array, "B G K T A"]]:
        """Rotated q and k, and v, as caches keep them."""
        h = self.input_norm(x)
        heads = lambda y: y.reshape(*y.shape[:-1], -1, self.config.head_dim)  # noqa: E731
        q, k, v = heads(self.q(h)), heads(self.k(h)), heads(self.v(h))
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        return rotate(q, cos, sin), jnp.swapaxes(rotate(k, cos, sin), 2, 3), jnp.swapaxes(v, 2, 3)

    def finish(
        self, x: Float[HostOrDevice, "B G T D"], attended: Float[HostOrDevice, "B G T H A"]
    ) -> Float[Array, "B G T D"]:
        """Output projection and SwiGLU, each with its residual."""
        x = x + self.o(attended.reshape(*x.shape[:-1], -1))
        h = self.post_norm(x)
        return x + self.down(jax.nn.silu(self.gate(h)) * self.up(h))

    def __call__(
        self,
        x: Float[HostOrDevice, "B G T D"],
        cos: Float[HostOrDevice, "B G T half"],
        sin: Float[HostOrDevice, "B G T half"],
    ) -> Float[Array, "B G T D"]:
        """Touches every parameter; used to initialise them, never to compute."""
        q, _, _ = self.project(x, cos, sin)
        return self.finish(x, q)
