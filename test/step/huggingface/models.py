"""Tiny models of transformers, for what is read and written in their layout.

python models.py write FOLDER     FOLDER/NAME: a model as transformers saves it, one for each variety of file; FOLDER/NAME/step.json:
                                  {tokens, loss}; FOLDER/NAME/gradient: its gradient, in the layout of a model. All by transformers, in float32.
python models.py compare FOLDER   prints JSON: for each NAME with a FOLDER/NAME.saved, how far that is from FOLDER/NAME, by tensor and in
                                  logits, and the rotary frequencies and magnitude of every FOLDER/*.rotary.json, a list of configs.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.utils import logging

torch.set_num_threads(2)
logging.set_verbosity_error()
logging.disable_progress_bar()

LLAMA = dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128)
GPT2 = dict(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=48, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=16)

# (config, options of save_pretrained, changes of the files)
MODELS = {
    "llama": (LlamaConfig(**LLAMA, num_key_value_heads=2, head_dim=16, rope_parameters=LLAMA3), {}, ()),
    "llama-classic": (LlamaConfig(**LLAMA, num_key_value_heads=2, rope_parameters=LLAMA3), {}, ("classic",)),
    "llama-biased-shards": (
        LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.0)),
        {"max_shard_size": "12KB"},
        (),
    ),
    "llama-tied-yarn": (LlamaConfig(**LLAMA, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=YARN), {}, ("classic",)),
    "llama-tied-bare": (LlamaConfig(**LLAMA, tie_word_embeddings=True), {}, ("bare",)),
    "llama-bf16": (LlamaConfig(**LLAMA, num_key_value_heads=2), {}, ("bf16",)),
    "gpt2": (GPT2Config(**GPT2), {}, ()),
    "gpt2-classic-bare": (GPT2Config(**GPT2, n_inner=80), {}, ("classic", "bare")),
    "gpt2-untied-shards": (GPT2Config(**GPT2, tie_word_embeddings=False, activation_function="gelu_pytorch_tanh"), {"max_shard_size": "12KB"}, ()),
}


def write(folder):
    for seed, (name, (config, options, changes)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = (LlamaForCausalLM if config.model_type == "llama" else GPT2LMHeadModel)(config)
        for parameter in model.parameters():  # norms and biases too: at their first values a mistake would not show
            parameter.data += 0.2 * torch.randn_like(parameter)
        if "bf16" in changes:
            model = model.bfloat16()
        saved = model.base_model if "bare" in changes else model
        saved.save_pretrained(folder / name, **options)
        if "classic" in changes:
            make_classic(folder / name / "config.json")
        # As it is read from the file: a cast to bfloat16 has also reached the rotary frequencies of the model at hand.
        model = type(model).from_pretrained(folder / name, dtype=torch.float32)
        tokens = torch.randint(0, config.vocab_size, (1, 40))
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        for parameter in model.parameters():
            parameter.data = parameter.grad
        model.save_pretrained(folder / name / "gradient")
        (folder / name / "step.json").write_text(json.dumps({"tokens": tokens[0].tolist(), "loss": loss.item()}))


def make_classic(path):
    """The keys that transformers wrote before version 5."""
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    rope = config.pop("rope_parameters", None)
    if rope:
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    path.write_text(json.dumps(config))


def compare(folder):
    models = {name: difference(folder / name, folder / f"{name}.saved") for name in MODELS if (folder / f"{name}.saved").exists()}
    rotary = {path.name: [rotary_of(config) for config in json.loads(path.read_text())] for path in sorted(folder.glob("*.rotary.json"))}
    print(json.dumps({"models": models, "rotary": rotary}))


def difference(before, after):
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (before, after)]
    theirs, ours = (dict(model.named_parameters()) for model in models)
    tokens = torch.tensor([json.loads((before / "step.json").read_text())["tokens"]])
    logits = [model(input_ids=tokens).logits for model in models]
    configs = [AutoConfig.from_pretrained(path).to_dict() for path in (before, after)]
    return {
        "names": sorted(set(theirs) ^ set(ours)),
        "tensors": max((theirs[name] - ours[name]).abs().max().item() for name in theirs),
        "logits": (logits[0] - logits[1]).abs().max().item(),
        "config": [key for key in configs[0] if key != "_name_or_path" and configs[0][key] != configs[1].get(key)],
        "files": sorted(set(str(value.dtype) for path in after.glob("*.safetensors") for value in load_file(path).values())),
    }


def rotary_of(config):
    rotary = LlamaRotaryEmbedding(LlamaConfig(**config))
    return {"frequencies": rotary.inv_freq.double().tolist(), "magnitude": rotary.attention_scaling}


{"write": write, "compare": compare}[sys.argv[1]](pathlib.Path(sys.argv[2]))
