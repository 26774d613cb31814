"""The tasks, one folder each, and what a task of your own is made of."""

from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Pretraining, Shapes, Stages, Task

__all__ = ["Column", "HeldOut", "Prediction", "Pretraining", "Scorer", "Shapes", "Stages", "Task"]
