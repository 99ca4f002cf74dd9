"""Records what a PyTorch detector computes, once, so that `port verify` can compare with it without PyTorch.

From your own code, with the original model in evaluation mode:

    from record_torch import record
    record(model, image_tensor, "recording.safetensors")

or from the command line, where `package.module:build` names a function that returns the model, weights loaded:

    python record_torch.py package.module:build recording.safetensors --input picture.npy
    python record_torch.py package.module:build recording.safetensors --shape 1,3,416,416 --only 'backbone|head'

Needs torch, numpy and safetensors. The file holds `input` and, under each module's path, what the module returned:
`path#1` for its second call, `path.0`, `path.1` for several results, `output.NAME` for the model's own result.
"""

import argparse
import importlib
import re

import numpy
import torch
from safetensors.torch import save_file


def tensors(value, path):
    """Every tensor in a module's result, with its path."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors(item, f"{path}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{path}.{key}")


def record(model, image, file, only=None, output="preds"):
    """Runs `model` on `image` [N, 3, H, W] and writes input, module results and output to `file`."""
    recorded = {"input": image.detach().clone()}
    calls = {}

    def hook(path):
        def keep(_module, _inputs, result):
            call = calls[path] = calls.get(path, -1) + 1
            for name, value in tensors(result, path):
                # Cloned, because an activation behind it may work in place.
                recorded[f"{name}#{call}" if call else name] = value.detach().float().clone()

        return keep

    modules = [(path, module) for path, module in model.named_modules() if path and re.search(only or "", path)]
    handles = [module.register_forward_hook(hook(path)) for path, module in modules]
    model.eval()
    with torch.no_grad():
        result = model(image)
    for handle in handles:
        handle.remove()
    # A single tensor has the name given; several have their index or key.
    prefix = f"output.{output}" if isinstance(result, torch.Tensor) else "output"
    recorded.update((name, value.float().clone()) for name, value in tensors(result, prefix))
    save_file({name: value.contiguous() for name, value in recorded.items()}, file)
    print(f"{file}: {len(recorded)} tensors")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Record a PyTorch model for port verify.")
    arguments.add_argument("model", help="package.module:function that returns the model")
    arguments.add_argument("file", help="the safetensors file to write")
    arguments.add_argument("--input", help="a .npy file with the input, [N, 3, H, W] in f32")
    arguments.add_argument("--shape", default="1,3,416,416", help="shape of a random input, when there is none")
    arguments.add_argument("--only", help="record the modules whose path this expression finds")
    options = arguments.parse_args()
    module, function = options.model.split(":")
    network = getattr(importlib.import_module(module), function)()
    shape = [int(size) for size in options.shape.split(",")]
    picture = torch.from_numpy(numpy.load(options.input)) if options.input else torch.randn(shape)
    record(network, picture, options.file, options.only)
