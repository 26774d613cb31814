"""How an evaluation's questions are asked, whoever answers: our sampler or a served model."""

from rrft_jax.remote.endpoint import Decoding
from rrft_jax.rollout.questions import Answerer, Question, Reply

__all__ = ["GREEDY", "PAPER", "Answerer", "Decoding", "Question", "Reply"]

# Reason-RFT's evaluation, which has no seed of its own.
PAPER = Decoding(temperature=0.1, top_k=50, top_p=0.9, max_new_tokens=768)
GREEDY = Decoding()
