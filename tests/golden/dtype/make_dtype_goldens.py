#!/usr/bin/env python3
"""Makes dtype.safetensors: what the Python package `gguf` (llama.cpp's reference implementation in numpy) says about every block type.

For each type T: T.raw (U8, random blocks with finite scales), T.values (F32, their dequantisation). For the types that `gguf` also quantises:
T.quantized (U8) of the tensor `input` (F32, normal with outliers and a block of zeros).

    pip install gguf safetensors numpy
    python make_dtype_goldens.py -o dtype.safetensors
"""

import argparse

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

SCALES = {  # byte offsets of the f16 fields of a block
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [0], "BF16": [0],
}
ELEMENTS = 768  # three super-blocks
QUANTIZERS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True)
    path = parser.parse_args().output
    rng = np.random.default_rng(20240607)
    tensors = {}
    for name, scales in SCALES.items():
        kind = GGMLQuantizationType[name]
        block, size = GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, size=(ELEMENTS // block, size), dtype=np.uint8)
        for offset in scales:
            values = (rng.normal(size=len(raw)) * 0.01).astype(np.float16)
            values[0] = np.float16(3e-7)  # a subnormal scale
            raw[:, offset:offset + 2] = values.view(np.uint8).reshape(-1, 2)
        tensors[f"{name.lower()}.raw"] = raw.reshape(-1)
        tensors[f"{name.lower()}.values"] = dequantize(raw.reshape(1, -1), kind).astype(np.float32).reshape(-1)

    values = rng.normal(size=ELEMENTS).astype(np.float32) * np.float32(0.02)
    values[5], values[70] = 1.5, -0.7
    values[96:128] = 0
    tensors["input"] = values
    for name in QUANTIZERS:
        tensors[f"{name.lower()}.quantized"] = quantize(values, GGMLQuantizationType[name]).reshape(-1).view(np.uint8)
    save_file(tensors, path)


if __name__ == "__main__":
    main()
