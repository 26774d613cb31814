"""The same as PEFT's LoRA on transformers' Qwen2-VL: its adapters read here, ours read there, and the merged export."""

import numpy as np
import pytest

from rrft_jax.models.adapter import read_adapter, save_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import load_params, save_params
from tests.models.build import pack
from tests.models.parity import ATOL, one_batch, our_logits, their_logits
from tests.models.qwen2_vl.test_parity import models  # noqa: F401, a fixture

pytestmark = pytest.mark.parity

TARGETS = {
    "decoder": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "some of both": ["q_proj", "down_proj", "attn.qkv", "attn.proj", "mlp.fc2", "merger.mlp.0"],
}


@pytest.fixture(params=[("decoder", False), ("some of both", True)], ids=lambda p: p[0].replace(" ", "_"))
def adapted(models, request, tmp_path):  # noqa: F811
    """(PEFT's model with a random adapter, the directory of that adapter)."""
    peft = pytest.importorskip("peft")
    from transformers import Qwen2VLForConditionalGeneration

    targets, rslora = request.param
    base = Qwen2VLForConditionalGeneration.from_pretrained(models.directory, dtype=models.torch.float32)
    settings = peft.LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS[targets], use_rslora=rslora)
    model = peft.get_peft_model(base, settings).eval()
    models.torch.manual_seed(3)
    with models.torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(0.15 * models.torch.randn(p.shape))
    model.save_pretrained(tmp_path / "peft")
    return model, tmp_path / "peft"


def both_ways(models, model, params):  # noqa: F811
    """The largest difference of the logits of all prompts, theirs one by one, ours in one batch."""
    prompts, patches, batch = one_batch(models)
    ours = our_logits(models.config, params, batch)
    worst = 0.0
    for z, segments, row in zip(ours, prompts, patches, strict=True):
        expected = their_logits(models, model, segments, row)
        worst = max(worst, float(np.abs(z[: len(expected)] - expected).max()))
    return worst


def test_their_adapter_here(models, adapted):  # noqa: F811
    model, directory = adapted
    leaves = read_adapter(directory, models.config, models.directory)
    params = from_paths({**leaf_paths(models.params), **leaves})
    assert both_ways(models, model, params) < ATOL
    assert both_ways(models, model, models.params) > 0.1, "the adapter does nothing"
    assert both_ways(models, model, load_params(models.directory, adapter=leaves)) < ATOL


def test_our_adapter_there(models, adapted, tmp_path):  # noqa: F811
    """Loads without a missing or an unexpected key, and gives the logits of the adapter it was made from."""
    import peft
    from transformers import Qwen2VLForConditionalGeneration

    model, directory = adapted
    leaves = read_adapter(directory, models.config, models.directory)
    save_adapter(tmp_path / "ours", from_paths(leaves), models.directory)
    again = read_adapter(tmp_path / "ours", models.config, models.directory)
    for path in leaves:
        np.testing.assert_allclose(again[path], leaves[path], rtol=1e-6)

    load = lambda where: Qwen2VLForConditionalGeneration.from_pretrained(where, dtype=models.torch.float32)  # noqa: E731
    theirs = peft.PeftModel.from_pretrained(load(models.directory), tmp_path / "ours").eval()
    adapters = lambda m: {n: p for n, p in m.named_parameters() if "lora_" in n}  # noqa: E731
    mine, expected = adapters(theirs), adapters(model)
    assert mine.keys() == expected.keys()
    assert all(models.torch.equal(mine[name], expected[name]) for name in mine)
    segments, patches = [[1, 2, 3, 4, 5]], []
    np.testing.assert_allclose(
        their_logits(models, theirs, segments, patches), their_logits(models, model, segments, patches), atol=1e-5
    )

    params = from_paths({**leaf_paths(models.params), **leaves})
    save_params(tmp_path / "hf", models.config, params, dtype="float32")
    np.testing.assert_allclose(
        their_logits(models, load(tmp_path / "hf").eval(), segments, patches),
        our_logits(models.config, params, pack([segments], [patches], models.config))[0],
        rtol=0, atol=ATOL,
    )  # fmt: skip
