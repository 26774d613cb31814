"""The PyTorch peers' side of a comparison: model and processor of the same directory. For pinned processes."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.models.auto.processing_auto import processor_class_from_name

from common.options import Options
from common.problem import Question, make_questions
from rrft_jax.models.registry import read_config
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.processing.processor import load_processor as our_processor


def load_processor(directory: str | Path) -> ProcessorMixin:
    """The directory's processor without its video half, which insists on torchvision and would not import on a CPU."""
    settings = json.loads((Path(directory) / "preprocessor_config.json").read_text())
    published = processor_class_from_name(settings["processor_class"])

    class ImageProcessor(published):
        def __init__(self, image_processor, tokenizer, chat_template=None, **kwargs):
            self.video_processor = None
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            super(published, self).__init__(image_processor, tokenizer, chat_template=chat_template)

        @classmethod
        def get_attributes(cls):
            return ["image_processor", "tokenizer"]

    tokenizer = AutoTokenizer.from_pretrained(str(directory), padding_side="left")
    images = AutoImageProcessor.from_pretrained(str(directory), backend="pil")
    return ImageProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def load_model(directory: str | Path, dtype=torch.float32) -> PreTrainedModel:
    return AutoModelForImageTextToText.from_pretrained(str(directory), dtype=dtype)


def messages(question: Question) -> list[dict]:
    content = [{"type": "image", "image": image} for image in question.images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question.text}]}]


def model_inputs(processor: ProcessorMixin, questions: list[Question], copies: int) -> dict:
    """Tensors of a left-padded batch in which every question stands `copies` times, as generate() wants them."""
    rows = [q for q in questions for _ in range(copies)]
    text = [processor.apply_chat_template(messages(q), tokenize=False, add_generation_prompt=True) for q in rows]
    return dict(processor(images=[list(q.images) for q in rows], text=text, padding=True, return_tensors="pt"))


def load_problem(options: Options) -> tuple[list[Question], np.ndarray, tuple[int, ...]]:
    """The questions, bool[V] what completions of a fixed length are made of (no EOS), and the EOS ids."""
    processor = our_processor(options.checkpoint)
    allowed = allowed_tokens(read_config(options.checkpoint), processor.vocab_tokens, processor.eos_token_ids)
    allowed[list(processor.eos_token_ids)] = False
    questions = make_questions(processor, options.prompts, options.images, options.size, options.text_tokens)
    return questions, allowed, processor.eos_token_ids
