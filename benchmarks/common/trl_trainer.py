"""TRL's GRPOTrainer, timed by phase. It loads torch and trl: import it in a process of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from datasets import Dataset, Features, Image, List, Value
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from common.options import Options
from common.problem import Question
from common.torch_side import load_processor
from common.turns import Clock, now

STEPS = 1000  # more than are ever taken
COPIES = 32  # of the problem in the data set: one for each step of an epoch


class EnoughStepsError(Exception):
    """Raised between two steps, so that nothing is computed after the last one."""


class Timed(GRPOTrainer):
    """Reports where the time of each step goes; computes what its parent does.

    begin() -> whether to take another step. end({phase: (CPU-seconds, wall seconds)}) follows it.
    now: what the clock reads; where a device runs behind the host, it waits for the device first.
    """

    def __init__(
        self,
        *args: Any,
        begin: Callable[[], bool],
        end: Callable[[Mapping[str, tuple[float, float]]], None],
        now: Callable[[], tuple[float, float]],
        **kwargs: Any,
    ):
        self.begin, self.end, self.clock, self._prefilled = begin, end, Clock(now), None
        super().__init__(*args, callbacks=[_Steps(self)], **kwargs)
        self.model.register_forward_pre_hook(self._forward_begins)
        self.model.register_forward_hook(self._forward_ends)

    def run(self) -> None:
        """Trains for as long as `begin` says so."""
        try:
            self.train()
        except EnoughStepsError:
            pass

    def _forward_begins(self, module, args) -> None:
        if self._prefilled is None:
            self._forward_began = self.clock.now()

    def _forward_ends(self, module, args, output) -> None:
        if self._prefilled is None:
            self._prefilled = self.clock.since(self._forward_began)

    def _generate_single_turn(self, *args, **kwargs):
        self._prefilled = None
        with self.clock("decode"):
            out = super()._generate_single_turn(*args, **kwargs)
        # The first forward pass of generate() is the prefill.
        cpu, wall = self._prefilled
        self.clock.add("prefill", cpu, wall)
        self.clock.add("decode", -cpu, -wall)
        return out

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        if model is not self.ref_model:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        with self.clock("reference"):
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    def training_step(self, *args, **kwargs):
        began = self.clock.now()
        out = super().training_step(*args, **kwargs)
        self.clock.add("update", *_less(self.clock.since(began), self._prepared))
        return out

    def _prepare_inputs(self, batch):
        began, known = self.clock.now(), self.clock.total()
        out = super()._prepare_inputs(batch)
        self._prepared = self.clock.since(began)
        self.clock.add("host", *_less(self._prepared, _less(self.clock.total(), known)))
        return out


class _Steps(TrainerCallback):
    def __init__(self, trainer: Timed):
        self.trainer = trainer

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.trainer.begin():
            raise EnoughStepsError
        self.trainer.clock = Clock(self.trainer.clock.now)
        self.began = self.trainer.clock.now()

    def on_step_end(self, args, state, control, **kwargs):
        clock = self.trainer.clock
        # Clipping and the optimizer come after training_step.
        clock.add("update", *_less(clock.since(self.began), clock.total()))
        self.trainer.end(clock.phases)


def _less(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return a[0] - b[0], a[1] - b[1]


def make_trainer(
    options: Options,
    questions: list[Question],
    allowed: np.ndarray,
    eos_token_ids: tuple[int, ...],
    reward: Callable[[str], float],
    folder: str,
    begin: Callable[[], bool],
    end: Callable[[Mapping[str, tuple[float, float]]], None],
    now: Callable[[], tuple[float, float]] = now,
    **arguments: Any,
) -> Timed:
    """The trainer of a problem in float32 on the CPU, every completion of options.new_tokens tokens.

    questions, allowed, eos_token_ids: of `load_problem`. arguments: added to those of GRPOConfig, or in their place.
    """
    B, G, C = options.prompts, options.group, options.new_tokens
    features = Features({
        "prompt": List({"role": Value("string"), "content": Value("string")}), "images": List(Image()),
    })  # fmt: skip
    rows = {
        "prompt": [[{"role": "user", "content": q.text}] for q in questions] * COPIES,
        "images": [list(q.images) for q in questions] * COPIES,
    }
    forbidden = [i for i in np.flatnonzero(~allowed).tolist() if i not in eos_token_ids]
    config = dict(
        per_device_train_batch_size=B * G, num_generations=G, max_completion_length=C, beta=options.beta,
        loss_type="grpo", temperature=1.0, learning_rate=1e-6, max_steps=STEPS, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to="none", logging_strategy="no", save_strategy="no",
        disable_tqdm=True, shuffle_dataset=False, model_init_kwargs={"dtype": "float32"},
        # No EOS, so that both sides draw as many tokens; TRL itself suppresses the image token only.
        generation_kwargs={"min_new_tokens": C, "suppress_tokens": forbidden},
    )  # fmt: skip

    def rewards(completions, **_):
        return [reward(completion[0]["content"]) for completion in completions]

    return Timed(
        model=options.checkpoint, reward_funcs=rewards, args=GRPOConfig(folder, **{**config, **arguments}),
        train_dataset=Dataset.from_dict(rows, features), processing_class=load_processor(options.checkpoint),
        begin=begin, end=end, now=now,
    )  # fmt: skip
