# Makes types.gguf beside this file, with the package `gguf`: for each quantised type a tensor of random blocks, and what the package
# dequantises it to as a tensor of floats, "<type>.float".
from pathlib import Path

import gguf
import numpy as np

halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
random = np.random.default_rng(1)
out = gguf.GGUFWriter(Path(__file__).parent / "types.gguf", "none")
for name, places in halves.items():
    kind = gguf.GGMLQuantizationType[name]
    size, length = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (2, length), dtype=np.uint8)
    for p in places:
        blocks[:, p:p + 2] = random.normal(size=(2, 1)).astype(np.float16).view(np.uint8)
    out.add_tensor(name, blocks.reshape(1, -1), raw_dtype=kind)
    out.add_tensor(name + ".float", gguf.quants.dequantize(blocks, kind).astype(np.float32).reshape(1, -1))
out.write_header_to_file()
out.write_kv_data_to_file()
out.write_tensors_to_file()
out.close()
