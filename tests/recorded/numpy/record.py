# Makes numpy.npz beside this file: arrays as NumPy itself writes them. Run with NumPy 2; tests/io/npy_test.cpp reads it.
from pathlib import Path
import numpy as np

np.savez_compressed(
    Path(__file__).parent / "numpy.npz",
    f32=np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    fortran=np.asfortranarray(np.arange(24, dtype=np.float64).reshape(2, 3, 4)),
    big_endian=np.array([1, -2], dtype=">i4"),
    half=np.array([0.5, 65504], dtype=np.float16),
    i8=np.array([-128, 127], dtype=np.int8),
    flags=np.array([[True], [False]]),
    scalar=np.int64(-7),
    none=np.zeros((0, 3), np.uint8),
)
