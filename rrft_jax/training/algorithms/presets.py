"""Algorithms by the names that people know: GRPO's machinery with other fields of the config.

A preset sets its fields where the config has their defaults; what a config or a command line sets otherwise stays, but
for the aggregation of the loss, which is the name's.
"""

from dataclasses import replace

from rrft_jax.training.algorithm import Algorithm
from rrft_jax.training.algorithms.grpo import GRPO

# What needs ratios takes two updates on every batch: with one, the policy is the one that drew and nothing is clipped.
PRESETS = {
    # Liu et al., arXiv 2503.20783: no division by the std, nor by a completion's length.
    "dr_grpo": {"loss.type": "dr_grpo", "advantages.scale": "none"},
    # Yu et al., arXiv 2503.14476.
    "dapo": {
        "loss.type": "dapo", "loss.epsilon_high": 0.28, "train.minibatches": 2, "rollout.resample": 2,
        "rewards.soft_overlong": 1.0,
    },
    # Zheng et al., arXiv 2507.18071: epsilons of section 5.1.
    "gspo": {
        "loss.surrogate": "clipped", "loss.ratio_level": "sequence", "loss.epsilon_low": 3e-4,
        "loss.epsilon_high": 4e-4, "loss.aggregation": "sequence_mean_token_mean", "train.minibatches": 2,
    },
    # MiniMax, arXiv 2506.13585; TRL's own takes epsilon_high for the cap (config.loss.type=cispo).
    "cispo": {"loss.surrogate": "cispo", "loss.aggregation": "token_mean", "train.minibatches": 2},
    # arXiv 2511.20347.
    "sapo": {"loss.surrogate": "sapo", "loss.aggregation": "sequence_mean_token_mean", "train.minibatches": 2},
    # Ahmadian et al., arXiv 2402.14740: the log-probs of a completion are summed.
    "rloo": {"advantages.estimator": "rloo", "loss.aggregation": "sequence_sum"},
    # Li et al., arXiv 2310.10505.
    "remax": {"advantages.estimator": "remax", "loss.aggregation": "token_mean"},
    # Hu, arXiv 2501.03262.
    "reinforce_pp": {"advantages.estimator": "reinforce_pp", "loss.aggregation": "token_mean"},
}  # fmt: skip

PRESET_ALGORITHMS: tuple[Algorithm, ...] = tuple(
    replace(GRPO, name=name, preset=fields) for name, fields in PRESETS.items()
)
