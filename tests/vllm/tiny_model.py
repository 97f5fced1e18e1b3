"""Makes a model with random weights and its tokenizer, without a hub. Run with vLLM's Python: `tiny_model.py FOLDER`.

Such a model follows nothing but the grammar, so it shows what the grammar holds. Its tokenizer knows 600 pieces of
Python code: it takes several times the tokens that a real one takes.
"""

from __future__ import annotations

import argparse
import inspect
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PIECES = 600
LENGTH = 4_096
HEADS = 4
WIDTH = 256  # Heads of fewer than 32 dimensions make vLLM's CPU attention fail at the first request.


def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=["<bos>", "<eos>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    # Without indentation, whose long blanks would become pieces and fill every gap that the grammar leaves.
    made.train_from_iterator([line.strip() for line in inspect.getsource(argparse).split("\n")], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        model_max_length=LENGTH,
        chat_template="{% for one in messages %}{{ one['content'] }}\n{% endfor %}",
    )


def model(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LENGTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


if __name__ == "__main__":
    folder = sys.argv[1]
    words = tokenizer()
    words.save_pretrained(folder)
    model(words).save_pretrained(folder)
