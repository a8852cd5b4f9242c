"""The model card against literals."""

from __future__ import annotations

from stages.common.metrics.finetune import FinetuneMetrics
from stages.finetune import card
from stages.prompts.styles import STYLES

CONFIG = {"n_layer": 2, "n_head": 1, "n_embd": 1024, "n_positions": 1024}
RECIPE = {"learning_rate": 0.005, "seed": 123, "eval_every": 1}
METRICS = FinetuneMetrics(
    parameters=1234567,
    precision="fp32",
    rows_train=34,
    rows_val=1,
    steps=2,
    epochs=1,
    tokens_seen=4340,
    train_loss=1.0,
    val_loss_before=10.8071,
    val_loss=1.5,
    last_val_loss=1.5,
    best_val_loss=1.5,
    best_step=2,
    kept_step=2,
)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n\n")[1].split("\n\n## ")[0]


def test_what_the_training_knows():
    text = card.text(CONFIG, STYLES["alpaca"], RECIPE, METRICS)

    assert text.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n")
    assert section(text, "Model") == "- GPT-2, 2 layers, 1 head, width 1,024, 1,234,567 parameters, stored in fp32"
    assert section(text, "Data").splitlines()[-1] == "- 34 train rows, 1 validation row"
    assert section(text, "Training") == (
        "- AdamW; learning_rate 0.005, seed 123\n"
        "- 2 steps, 1 epoch, 4,340 tokens, in fp32\n"
        "- validation loss in nats a token: 10.807 before, 1.500 after (step 2)"
    )
    assert "Not in this card" in section(text, "Scores")
    assert "1,024 tokens at most" in section(text, "Limits")
    assert section(text, "Licence").startswith("- None is stated here.")
    assert "prompt style alpaca" in text


def test_a_training_that_ends_within_an_epoch_says_how_many_it_was():
    """34 rows are 8 batches of 4 and two rows: 2 steps are a quarter of an epoch."""
    text = card.text(CONFIG, STYLES["alpaca"], {"batch_size": 4, "drop_last": True}, METRICS)

    assert "\n- 2 steps (0.25 epochs), 4,340 tokens, in fp32\n" in text


def test_what_is_known_later_takes_its_place():
    later = card.Later(data=["rows.json"], scores=["41.3 of 100"], licence="apache-2.0")

    text = card.text(CONFIG, STYLES["alpaca"], {}, METRICS.model_copy(update={"trained_parameters": 24}), later)

    assert text.startswith('---\nlicense: "apache-2.0"\nlibrary_name')
    assert section(text, "Data") == "- rows.json\n- 34 train rows, 1 validation row"
    assert section(text, "Scores") == "- 41.3 of 100"
    assert section(text, "Licence") == "- apache-2.0"
    assert "LoRA: trained and merged into the weights: 24 parameters" in section(text, "Model")
    assert "AdamW" not in text
