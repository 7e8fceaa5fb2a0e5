"""gradus in lldb: tensors as text.      (lldb) command script import .../gradus/debug/lldb_printers.py

    (lldb) frame variable x
    (gradus::Tensor<float, gradus::Cpu>) x = float32 cpu [2, 3]: 1 2 3 4 5 6, requires_grad, made by MulNode at train.cpp:61

Memory is only read: nothing is called in the program, so it works in optimised programs and core files too.
"""
import math
import os
import re
import struct

import lldb

DTYPES = [("float32", 4, "f"), ("float64", 8, "d"), ("bfloat16", 2, "H"), ("float16", 2, "e"),
          ("int64", 8, "q"), ("int32", 4, "i"), ("uint8", 1, "B"), ("bool", 1, "B")]
DEVICES = ["cpu", "cuda"]
MAGIC = 0x64617267
LIMIT = 1 << 20


def memory(process, address, size):
    error = lldb.SBError()
    raw = process.ReadMemory(address, size, error)
    if not error.Success():
        raise ValueError("cannot read 0x%x" % address)
    return raw


def number(process, address, code="Q"):
    return struct.unpack("<" + code, memory(process, address, struct.calcsize(code)))[0]


def member(v, *names):
    for name in names:
        v = v.GetChildMemberWithName(name)
    return v.GetNonSyntheticValue()


def value(v, *names):
    return member(v, *names).GetValueAsUnsigned()


def extents(v):
    v = v.GetNonSyntheticValue()
    n = member(v, "n").GetValueAsSigned()
    if not 0 <= n <= 8:
        raise ValueError("rank %d" % n)
    return [member(v, "v").GetChildAtIndex(i).GetValueAsSigned() for i in range(n)]


def decode(dtype, raw):
    name, size, code = DTYPES[dtype]
    if name == "bfloat16":
        raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
        size, code = 4, "f"
    return struct.unpack("<%d%s" % (len(raw) // size, code), raw)


def text(dtype, v):
    if DTYPES[dtype][0] == "bool":
        return "true" if v else "false"
    return "%.5g" % v if isinstance(v, float) else str(v)


def element(process, dtype, data, shape, strides, i):
    place = 0
    for extent, stride in zip(reversed(shape), reversed(strides)):
        place += i % extent * stride
        i //= extent
    size = DTYPES[dtype][1]
    return decode(dtype, memory(process, data + place * size, size))[0]


def short_name(full):
    head, _, tail = full.partition("<")
    head = head.rsplit("::", 1)[-1]
    if tail.startswith("gradus::kernels::"):
        return head + "<" + re.split("[,<>]", tail[len("gradus::kernels::"):])[0] + ">"
    return head


def node_text(node, process):
    """A pointer to a Node: "MulNode at train.cpp:61"."""
    table = number(process, node.GetValueAsUnsigned())
    backward = number(process, table + 16)           # after the two destructors; lldb knows functions better than vtables
    name = process.GetTarget().ResolveLoadAddress(backward).GetSymbol().GetName() or ""
    name = short_name(re.sub(r"::backward\(.*", "", name)) if "::backward(" in name else "a node"
    at = node.Dereference().GetChildMemberWithName("at").GetLoadAddress()
    place = number(process, at)
    if not place:
        return name
    error = lldb.SBError()
    path = process.ReadCStringFromMemory(number(process, place), 4096, error)
    return "%s at %s:%d" % (name, os.path.basename(path), number(process, place + 16, "I"))


def describe(pointer, with_gradient=True):
    """A pointer to a TensorImpl."""
    if not pointer.GetValueAsUnsigned():
        return "undefined tensor"
    process = pointer.GetProcess()
    t = pointer.Dereference().GetNonSyntheticValue()
    if value(t, "magic") != MAGIC:
        return "no tensor (never made, or destroyed)"
    dtype = value(t, "dtype")
    device = value(t, "device")
    shape, strides = extents(member(t, "shape")), extents(member(t, "strides"))
    data, numel = value(t, "data"), member(t, "numel").GetValueAsSigned()
    s = "%s %s %s" % (DTYPES[dtype][0], DEVICES[device], shape)
    extra = member(t, "extra")
    if extra.GetValueAsUnsigned():
        name = extra.Dereference().GetChildMemberWithName("name").GetLoadAddress()
        size = number(process, name + 8)
        if size:
            s += ' "%s"' % memory(process, number(process, name), size).decode(errors="replace")
    if numel:
        wanted = range(numel) if numel <= 8 else list(range(4)) + [None] + list(range(numel - 3, numel))
        s += ": " + " ".join("..." if i is None else text(dtype, element(process, dtype, data, shape, strides, i)) for i in wanted)
    if numel and numel <= LIMIT and value(t, "contiguous"):
        values = [float(v) for v in decode(dtype, memory(process, data, numel * DTYPES[dtype][1]))]
        good = [v for v in values if math.isfinite(v)]
        if good and numel > 1:
            s += ", min %.5g mean %.5g max %.5g" % (min(good), math.fsum(good) / len(good), max(good))
        nan = sum(map(math.isnan, values))
        if nan:
            s += ", NaN %d" % nan
    if not value(t, "contiguous"):
        s += ", strides %s" % strides
    if value(t, "requires_grad"):
        s += ", requires_grad"
    version = value(member(t, "storage").Dereference(), "version") if value(t, "storage") else 0
    if version:
        s += ", version %d" % version
    node = member(t, "grad_fn")
    if node.GetValueAsUnsigned():
        s += ", made by " + node_text(node, process)
    grad = member(t, "grad")
    if with_gradient and grad.GetValueAsUnsigned():
        s += ", grad = {" + describe(grad, False) + "}"
    return s


def guarded(f):
    def summary(v, internal):
        try:
            return f(v.GetNonSyntheticValue())
        except (ValueError, struct.error, IndexError, AttributeError) as e:
            return "tensor that cannot be read (%s)" % e
    return summary


tensor_summary = guarded(lambda v: describe(member(v, "impl_", "p_")))
saved_summary = guarded(lambda v: describe(member(v, "value_", "impl_", "p_")))
shape_summary = guarded(lambda v: str(extents(v)))


def __lldb_init_module(debugger, internal):
    for pattern, function in (("^gradus::(Tensor<.+>|AnyTensor)$", "tensor_summary"), ("^gradus::Saved<.+>$", "saved_summary"),
                              ("^gradus::Shape$", "shape_summary")):
        debugger.HandleCommand('type summary add -w gradus -x "%s" --python-function %s.%s' % (pattern, __name__, function))
    debugger.HandleCommand("type category enable gradus")
