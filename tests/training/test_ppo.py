"""PPO solves a contextual bandit whose optimum is known, keeps its critic apart, and resumes to the bit."""

import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.losses.grpo import GRPOLoss
from rrft_jax.losses.ppo import PPOLoss, credit, ppo_loss
from rrft_jax.losses.terms import Scores, Targets
from rrft_jax.training.critic import HEAD, Critic, head_params, optimizer_for, without_head
from rrft_jax.training.step import Batch, init_state, make_train_step
from rrft_jax.training.validate import check_config
from tests.training import runs
from tests.training.test_minibatches import ON_DEVICES, assert_devices_change_nothing

CONTEXTS, ACTIONS = 3, 4
STATES = CONTEXTS * (1 + ACTIONS)  # the first token is drawn knowing the context, the second the first token too


def states(contexts, tokens):
    """float32[B, G, 2, STATES], one-hot."""
    first = jnp.broadcast_to(contexts[:, None], tokens.shape[:2])
    return jax.nn.one_hot(jnp.stack([first, CONTEXTS + first * ACTIONS + tokens[..., 0]], -1), STATES)


def forward(critic, trainable, frozen, batch):
    hidden = states(batch.prompts, batch.tokens)
    logits = jax.nn.log_softmax(hidden @ trainable["policy"]["kernel"])
    log_probs = jnp.take_along_axis(logits, batch.tokens[..., None], -1)[..., 0]
    return Scores(log_probs, -(jnp.exp(logits) * logits).sum(-1), critic.values(trainable, hidden))


def reward(context, tokens):
    """1 for the one right pair, 0.25 for its first half."""
    right = tokens[..., 0] == context[:, None]
    return 0.25 * right + 0.75 * (right & (tokens[..., 1] == (2 * context[:, None] + 1) % ACTIONS))


def config_of(**ppo):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.optimizer.schedule.update({"name": "constant", "peak": 0.1, "warmup_steps": 0})
    config.ppo.update({"value_peak": 0.2, **ppo})
    return config


def test_a_contextual_bandit_is_solved():
    config, critic, rng = config_of(), Critic(0.2, "frozen", 0), np.random.default_rng(0)
    loss, settings = GRPOLoss(surrogate="clipped", aggregation="token_mean"), PPOLoss()
    optimizer, schedule = optimizer_for(config, critic)
    score = jax.jit(partial(forward, critic))
    step = jax.jit(
        make_train_step(partial(forward, critic), partial(ppo_loss, config=loss, ppo=settings), optimizer, schedule, 2)
    )
    assign = jax.jit(credit, static_argnums=4)
    state = init_state({"policy": {"kernel": jnp.zeros((STATES, ACTIONS))}} | head_params(STATES), optimizer)
    contexts = np.arange(24) % CONTEXTS
    mask, rows = np.ones((24, 4, 2), bool), np.ones((24, 4), np.float32)
    explained = []
    for _ in range(60):
        table = np.asarray(jax.nn.softmax(state["params"]["policy"]["kernel"]))
        draw = lambda p: (p.cumsum(-1) > rng.random((*p.shape[:-1], 1))).argmax(-1)  # noqa: E731
        first = draw(np.broadcast_to(table[contexts][:, None], (24, 4, ACTIONS)))
        second = draw(table[CONTEXTS + contexts[:, None] * ACTIONS + first])
        tokens = np.minimum(np.stack([first, second], -1), ACTIONS - 1).astype(np.int32)
        earned = reward(contexts, tokens).astype(np.float32)
        batch = Batch(contexts, tokens, mask, Targets(mask, rows))
        old = score(state["params"], {}, batch)
        plain = Targets(mask, rows, old_log_probs=old.log_probs)
        targets, found = assign(earned, plain, old.log_probs, old.values, settings)
        explained.append(float(found["critic/explained_variance"]))
        for _ in range(2):
            state, metrics = step(state, {}, Batch(contexts, tokens, mask, targets))
    best = np.array([[c, CONTEXTS + c * ACTIONS + c] for c in range(CONTEXTS)])
    table = np.asarray(jax.nn.softmax(state["params"]["policy"]["kernel"]))
    right = [table[best[c, 0], c] * table[best[c, 1], (2 * c + 1) % ACTIONS] for c in range(CONTEXTS)]
    assert min(right) > 0.9, right  # the optimum is 1 in every context
    values = np.asarray(state["params"][HEAD]["kernel"])[best[:, 1], 0] + float(state["params"][HEAD]["bias"])
    np.testing.assert_allclose(values, 1.0, atol=0.15)
    # A constant critic explains nothing; most of what is left is chance, which no critic explains.
    assert explained[0] == pytest.approx(0, abs=1e-6) and np.nanmax(explained[5:30]) > 0.2
    assert np.isfinite(float(metrics["value_loss"]))


@pytest.mark.parametrize(("trunk", "warmup"), [("frozen", 0), ("shared", 0), ("shared", 1)])
def test_what_the_critics_loss_moves(trunk, warmup):
    """With no policy gradient: the head alone, the trunk too, or the head alone until the warm-up ends."""
    config, critic = config_of(), Critic(0.2, trunk, warmup)
    optimizer, schedule = optimizer_for(config, critic)

    def both(trainable, frozen, batch):
        hidden = jnp.tanh(states(batch.prompts, batch.tokens) @ trainable["language"]["kernel"])
        return Scores(jnp.zeros((2, 1, 2)), None, critic.values(trainable, hidden))

    loss = partial(ppo_loss, config=GRPOLoss(surrogate="clipped"), ppo=PPOLoss())
    step = jax.jit(make_train_step(both, loss, optimizer, schedule))
    mask, rows = np.ones((2, 1, 2), bool), np.ones((2, 1), np.float32)
    zeros = np.zeros((2, 1, 2), np.float32)
    targets = Targets(mask, rows, zeros, zeros, returns=zeros + 1, old_values=zeros)
    batch = Batch(np.arange(2), np.zeros((2, 1, 2), np.int32), mask, targets)
    head = {HEAD: {"kernel": np.full((3, 1), 0.1, np.float32), "bias": np.float32(0)}}
    start = {"language": {"kernel": np.full((STATES, 3), 0.2, np.float32)}} | head
    state, moved = init_state(start, optimizer), []
    for _ in range(2):
        new, metrics = step(state, {}, batch)
        change = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), new["params"], state["params"])
        moved.append((change["language"]["kernel"] > 0, change[HEAD]["kernel"] > 0))
        state = new
    assert moved == [(trunk == "shared" and not warmup, True), (trunk == "shared", True)]
    assert float(metrics["learning_rate"]) == pytest.approx(0.1)
    assert set(without_head(state["params"])) == {"language"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ppo.trunk": "frosen"}, "config.ppo.trunk='frosen': choose one of frozen, shared"),
        ({"ppo.lam": 2.0}, "config.ppo.lam=2.0 must lie"),
        ({"ppo.kl_in_reward": 0.1, "loss.beta": 0.1}, "leave one of them at 0"),
        ({"advantages.estimator": "rloo"}, "estimator=rloo would change nothing: config.algorithm=ppo has its critic"),
        ({"ppo.value_peak": 0.0}, "config.ppo.value_peak=0.0 must be positive"),
    ],
)
def test_wrong_settings_are_named(fields, message):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.algorithm, config.loss.beta = "ppo", 0.0
    config.rollout.group = 1
    check_config(config)
    for name, value in fields.items():
        group, _, field = name.partition(".")
        config[group][field] = value
    with pytest.raises(ValueError, match=message):
        check_config(config)


@pytest.mark.slow
def test_killed_between_two_updates_with_an_adapter(launcher, tmp_path):
    """KL in the reward; the critic's values of the rollout come back from the checkpoint."""
    options = (
        *runs.TINY, "--config.algorithm=ppo", "--config.lora.rank=4", "--config.loss.beta=0.0",
        "--config.ppo.kl_in_reward=0.05", "--config.ppo.value_peak=1e-3", "--config.checkpoint.every=1",
        "--config.train.rollout_epochs=2", "--config.optimizer.schedule.peak=1e-3", "--config.eval.every=0",
        "--config.rollout.group=2", "--config.ppo.critic_warmup=1",
    )  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said = launcher.run(whole, *options)
    assert "ppo sets config.loss.surrogate=clipped" in said
    process = launcher.start(parts, *options)
    assert runs.stop_when(process, lambda: runs.steps_written(parts) >= 2, signal.SIGKILL) == -signal.SIGKILL
    launcher.run(parts, *options)
    runs.assert_same_result(parts, whole)
    assert runs.files(parts / "adapter") == runs.files(whole / "adapter")
    records = runs.metrics_without_times(whole)[1:]
    assert all("value_loss" in record for record in records) and "critic/explained_variance" in records[0]
    arrays = runs.checkpoint(whole)[0]
    assert any(HEAD in name and np.abs(x).max() > 0 for name, x in arrays.items() if "params" in name)


@pytest.mark.slow
def test_devices_and_their_micro_batches_change_nothing():
    script = ON_DEVICES.replace(
        'config.mesh.update', 'config.algorithm = "ppo"\nconfig.ppo.value_peak = 1e-2\nconfig.mesh.update'
    )
    assert_devices_change_nothing(script, ((0, 2, 2, 2), 8))
