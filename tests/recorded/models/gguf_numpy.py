# A reader of GGUF files in NumPy, written from the format's description, for the recorded cases: F32, Q4_1 and Q8_0.
import struct
import numpy as np

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_gguf(path):
    """Metadata, and tensors as float32 with the slowest dimension first."""
    data = open(path, "rb").read()
    at = 4

    def one(code):
        nonlocal at
        v = struct.unpack_from("<" + code, data, at)[0]
        at += struct.calcsize("<" + code)
        return v

    def text():
        nonlocal at
        n = one("Q")
        at += n
        return data[at - n:at].decode("utf-8")

    def value(t):
        if t == 8: return text()
        if t == 9:
            of, n = one("I"), one("Q")
            return [value(of) for _ in range(n)]
        return one(NUMBERS[t])

    assert data[:4] == b"GGUF" and one("I") in (2, 3)
    tensors, entries = one("Q"), one("Q")
    meta = {}
    for _ in range(entries):
        key = text()
        meta[key] = value(one("I"))
    infos = [(text(), [one("Q") for _ in range(one("I"))], one("I"), one("Q")) for _ in range(tensors)]
    align = meta.get("general.alignment", 32)
    begin = (at + align - 1) // align * align
    out = {}
    for name, extents, t, offset in infos:
        n, shape = int(np.prod(extents)), extents[::-1]
        raw = lambda count: np.frombuffer(data, np.uint8, count, begin + offset)
        if t == 0: x = raw(4 * n).view("<f4")
        elif t == 8:
            b = raw(n // 32 * 34).reshape(-1, 34)
            x = b[:, :2].copy().view("<f2").astype(np.float32) * b[:, 2:].copy().view(np.int8)
        elif t == 3:
            b = raw(n // 32 * 20).reshape(-1, 20)
            d, m = (b[:, i:i + 2].copy().view("<f2").astype(np.float32) for i in (0, 2))
            x = np.concatenate([b[:, 4:] & 15, b[:, 4:] >> 4], 1) * d + m
        else: raise ValueError(f"type {t} of {name}")
        out[name] = np.asarray(x, np.float32).reshape(shape)
    return meta, out
