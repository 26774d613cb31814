"""Names people know: TRL's loss types and the paper's advantages, as compositions of this package."""

from types import MappingProxyType

from rrft_jax.losses.grpo import GRPOLoss

# loss_type: (surrogate, aggregation). TRL's bnpo averages within a process; a token mean here is over the whole batch.
LOSS_TYPES = MappingProxyType(
    {
        "grpo": ("clipped", "sequence_mean_token_mean"),
        "bnpo": ("clipped", "token_mean"),
        "dapo": ("clipped", "token_mean"),
        "dr_grpo": ("clipped", "constant_length"),
        "luspo": ("clipped", "sequence_sum"),
        "cispo": ("cispo", "token_mean"),
        "sapo": ("sapo", "sequence_mean_token_mean"),
    }
)

# The keywords of `group_advantages` that reproduce the paper's advantages.
PAPER_ADVANTAGES = MappingProxyType({"scale": "group", "ddof": 1, "epsilon": 1e-4})


def trl(
    loss_type: str = "dapo",
    importance_sampling_level: str = "token",
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
    beta: float = 0.0,
    use_bias_correction_kl: bool = True,
    max_completion_length: int | None = 512,
    sapo_temperature_pos: float = 1.0,
    sapo_temperature_neg: float = 1.05,
    entropy_coef: float = 0.0,
) -> GRPOLoss:
    """The loss that TRL 1.16's GRPOConfig with these options describes; names and defaults are TRL's."""
    if loss_type not in LOSS_TYPES:
        raise ValueError(f"loss_type must be one of {', '.join(LOSS_TYPES)}; got {loss_type!r}")
    surrogate, aggregation = LOSS_TYPES[loss_type]
    return GRPOLoss(
        surrogate=surrogate,
        ratio_level=importance_sampling_level,
        aggregation=aggregation,
        epsilon_low=epsilon,
        epsilon_high=epsilon if epsilon_high is None else epsilon_high,
        cispo_cap=epsilon if epsilon_high is None else epsilon_high,
        delta=delta,
        sapo_temperature_positive=sapo_temperature_pos,
        sapo_temperature_negative=sapo_temperature_neg,
        max_completion_length=max_completion_length,
        beta=beta,
        kl_estimator="k3",
        kl_ratio_correction=use_bias_correction_kl,
        entropy_coefficient=entropy_coef,
    )
