"""Trains the byte-level BPE tokenizer of the bundled `nano` model and writes its HuggingFace files.

    python scripts/make_nano_tokenizer.py --out=rrft_jax/assets/nano

Deterministic. It carries Qwen2-VL's split rule, special tokens and chat template; its merges come from the synthetic
tasks and the published prompt templates, so that every word of theirs is one token.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import tokenizers
from absl import app, flags
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from rrft_jax.data.example import Example
from rrft_jax.tasks.registry import get_task, tasks
from rrft_jax.tasks.task import Task
from rrft_jax.tasks.texts import listing_target

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "rrft_jax/assets/nano", "Directory to write.")

PUBLISHED = Path(__file__).parents[1] / "tests" / "fixtures" / "qwen2-tokenizer" / "preprocessor_config.json"
VOCABULARY = 1024  # with special tokens
SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Turns of one user message with its images, as Qwen2-VL-Instruct lays them out.
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
    "<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in "
    "content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == "
    "'video' or 'video' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video "
    "{{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% endif %}"
)
# Published templates are long and few: each stands this often among the examples.
TEMPLATE_WEIGHT = 300
EXAMPLES = 400  # of the training domain of each task; half as many of each other domain


def generated() -> list[Task]:
    """The tasks that have examples to learn from, with pictures."""
    return [task for task in tasks().values() if task.make and task.shapes.images]


def corpus() -> Iterator[str]:
    for task in generated():
        for number, (domain, _) in enumerate(task.held_out.values()):
            for index in range(EXAMPLES if number == 0 else EXAMPLES // 2):
                yield from texts(task.make(0, index, "tokenizer", domain))
        for _ in range(TEMPLATE_WEIGHT):
            yield from task.templates.values()
    for _ in range(TEMPLATE_WEIGHT):
        yield "system\nYou are a helpful assistant.\nuser\nassistant\n"


def texts(example: Example) -> Iterator[str]:
    """All texts of an example."""
    yield example.problem
    yield listing_target(example)
    for target in get_task(example.task).targets.values():
        yield target(example)


def train() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False, special=True) for t in SPECIALS])
    return tokenizer


def main(_):
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    tokenizer.save(str(out / "tokenizer.json"))
    ids = {t: tokenizer.token_to_id(t) for t in SPECIALS}
    write = lambda name, value: (out / name).write_text(json.dumps(value, indent=2) + "\n")  # noqa: E731
    write("tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None, "unk_token": None,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "padding_side": "left", "errors": "replace",
        "clean_up_tokenization_spaces": False, "split_special_tokens": False, "model_max_length": 4096,
        "additional_special_tokens": SPECIALS[1:],
    })  # fmt: skip
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    published = json.loads(PUBLISHED.read_text())
    write("preprocessor_config.json", {
        "image_processor_type": published["image_processor_type"], "processor_class": published["processor_class"],
        "min_pixels": 56 * 56, "max_pixels": 112 * 112, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    })  # fmt: skip
    eos = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    write("generation_config.json", {"eos_token_id": eos, "pad_token_id": ids["<|endoftext|>"]})
    print(f"{tokenizer.get_vocab_size()} tokens")
    for task in generated():
        lengths = [len(tokenizer.encode(task.targets["cot"](task.make(1, i, "train", "in"))).ids) for i in range(200)]
        print(f"{task.name}: longest of 200 chains of thought {max(lengths)} tokens")
        sample = task.targets["cot"](task.make(1, 0, "train", "in"))
        print("|".join(tokenizer.decode([i]) for i in tokenizer.encode(sample).ids))


if __name__ == "__main__":
    app.run(main)
