"""The tasks, one folder each, and the parts of a task of your own."""

from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Pretraining, Shapes, Stages, Task

__all__ = ["Column", "HeldOut", "Prediction", "Pretraining", "Scorer", "Shapes", "Stages", "Task"]
