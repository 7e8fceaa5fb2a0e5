"""NumPy arrays from tensors and tensors from NumPy arrays, without copies: dlpack_numpy.py MODULE.so"""
import ctypes
import sys

import numpy

module = ctypes.CDLL(sys.argv[1])
module.give_transposed.restype = ctypes.c_void_p
module.first_given.restype = ctypes.c_float
module.take.restype, module.take.argtypes = ctypes.c_double, [ctypes.c_void_p]
module.refuse.restype, module.refuse.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
module.live_bytes.restype = ctypes.c_int64

api = ctypes.pythonapi
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
USED = b"used_dltensor"


class Given:
    """What numpy.from_dlpack asks: a capsule around the struct, and the device."""

    def __dlpack__(self, **_):
        return api.PyCapsule_New(module.give_transposed(), b"dltensor", None)

    def __dlpack_device__(self):
        return (1, 0)


def struct_of(array):
    """The struct of an array; whoever gets it owns it."""
    capsule = array.__dlpack__()
    pointer = api.PyCapsule_GetPointer(capsule, b"dltensor")
    api.PyCapsule_SetName(capsule, USED)
    return pointer


x = numpy.from_dlpack(Given())
assert x.shape == (4, 3) and x.dtype == numpy.float32 and x.strides == (4, 16), (x.shape, x.dtype, x.strides)
assert (x == numpy.arange(12).reshape(3, 4).T).all(), x
if x.flags.writeable:  # some versions give read-only arrays
    x[0, 0] = 41
    assert module.first_given() == 41

a = numpy.arange(6, dtype=numpy.float64).reshape(2, 3)
before = module.live_bytes()
counts = sys.getrefcount(a)
assert module.take(struct_of(a)) == 3 + 2 * 12
assert (a == 2 * numpy.arange(6).reshape(2, 3)).all(), a  # doubled in place
assert sys.getrefcount(a) == counts and module.live_bytes() == before
b = numpy.arange(20, dtype=numpy.float64).reshape(4, 5)[::2, 1:3]  # strides
assert module.take(struct_of(b)) == (1 + 2) + 2 * (11 + 12)

text = module.refuse(struct_of(a)).decode()
assert "from_dlpack: other elements" in text and "float64" in text and "float32" in text, text
print("exchanged with NumPy", numpy.__version__)
