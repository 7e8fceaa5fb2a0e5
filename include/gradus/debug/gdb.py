"""gradus in gdb: tensors and gradient graphs as text, and a debugger that stops at gradients.

    (gdb) source .../gradus/debug/gdb.py        or include <gradus/debug/gdb.hpp> in the program: gdb then finds this file
    (gdb) print x                               dtype, device, shape, values, range, gradient, version, the op that made it
    (gdb) gradus graph X [--svg FILE]           the graph behind a tensor
    (gdb) gradus break-backward OP|PARAMETER|FILE:LINE
    (gdb) gradus next-grad                      run to the next node of the backward pass
    (gdb) gradus step-grad                      and into its backward()
    (gdb) gradus grads                          the gradients that wait
    (gdb) gradus why X [LOSS]                   the path from the loss to X, with the norm of the gradient at each node

Memory is only read: nothing is called in the program, so all of it works in optimised programs, in core files, and when the
program has crashed. What it needs is debug information of the file that uses gradus (-g), not of the library.
"""
import math
import os
import re
import struct

import gdb
import gdb.printing
import gdb.types

LIMIT = 1 << 20          # elements that statistics look at
DTYPES = [("float32", 4, "f"), ("float64", 8, "d"), ("bfloat16", 2, "H"), ("float16", 2, "e"),
          ("int64", 8, "q"), ("int32", 4, "i"), ("uint8", 1, "B"), ("bool", 1, "B")]
DEVICES = ["cpu", "cuda"]
MAGIC = 0x64617267


class Failure(gdb.GdbError):
    pass


# ---- memory ------------------------------------------------------------------------------------------------------------

def memory(address, size):
    try:
        return gdb.selected_inferior().read_memory(address, size).tobytes()
    except gdb.MemoryError:
        raise Failure("gradus: cannot read %d bytes at 0x%x" % (size, address))


def number(address, code="Q"):
    return struct.unpack("<" + code, memory(address, struct.calcsize(code)))[0]


def c_string(address):
    return gdb.Value(address).cast(gdb.lookup_type("char").pointer()).string(errors="replace") if address else ""


_offsets = {}


def offset(type_name, field):
    """Of a member, from the debug information."""
    table = _offsets.get(type_name)
    if table is None:
        try:
            of = gdb.lookup_type(type_name)
        except gdb.error:
            raise Failure("gradus: no debug information about %s: compile the file that uses it with -g" % type_name)
        table = {f.name: f.bitpos // 8 for f in of.fields() if hasattr(f, "bitpos") and not f.is_base_class}
        table[None] = of.sizeof
        _offsets[type_name] = table
    if field not in table:
        raise Failure("gradus: %s has no member %s: gdb.py and the headers are of different versions" % (type_name, field))
    return table[field]


def where(address):
    """Of a std::source_location: "train.cpp:61", and the whole path."""
    place = number(address)
    if not place:
        return "", 0, ""
    path = c_string(number(place))
    return os.path.basename(path), number(place + 16, "I"), path


def where_text(address):
    name, line, _ = where(address)
    return "%s:%d" % (name, line) if line else "an unknown place"


# ---- tensors -----------------------------------------------------------------------------------------------------------

class Impl:
    """A gradus::TensorImpl at an address."""

    def __init__(self, address):
        self.address = address
        if number(address + offset("gradus::TensorImpl", "magic"), "I") != MAGIC:
            raise Failure("gradus: there is no tensor at 0x%x (never made, or destroyed)" % address)
        self.dtype = self.get("dtype", "B")
        self.device = self.get("device", "B")
        if self.dtype >= len(DTYPES):
            raise Failure("gradus: the tensor at 0x%x is damaged: dtype %d" % (address, self.dtype))
        self.shape = self.extents("shape")
        self.strides = self.extents("strides")
        self.numel = self.get("numel", "q")
        self.requires_grad = bool(self.get("requires_grad", "B"))
        self.data, self.storage = self.get("data"), self.get("storage")
        self.grad_fn, self.grad, self.base = self.get("grad_fn"), self.get("grad"), self.get("base")

    def get(self, field, code="Q"):
        return number(self.address + offset("gradus::TensorImpl", field), code)

    def extents(self, field):
        at = self.address + offset("gradus::TensorImpl", field)
        n = number(at + offset("gradus::Shape", "n"), "i")
        if not 0 <= n <= 8:
            raise Failure("gradus: the tensor at 0x%x is damaged: rank %d" % (self.address, n))
        return list(struct.unpack("<%dq" % n, memory(at + offset("gradus::Shape", "v"), 8 * n))) if n else []

    def name(self):
        extra = self.get("extra")
        if not extra:
            return ""
        at = extra + offset("gradus::TensorExtra", "name")
        size = number(at + 8)
        return memory(number(at), size).decode(errors="replace") if size else ""

    def version(self):
        return number(self.storage + offset("gradus::Storage", "version"), "I") if self.storage else 0

    def writer(self):
        return where_text(self.storage + offset("gradus::Storage", "writer"))

    def head(self):
        name = self.name()
        return "%s %s %s%s" % (DTYPES[self.dtype][0], DEVICES[self.device], self.shape, ' "%s"' % name if name else "")

    def decode(self, raw):
        name, size, code = DTYPES[self.dtype]
        if name == "bfloat16":
            raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
            code, size = "f", 4
        return struct.unpack("<%d%s" % (len(raw) // size, code), raw)

    def contiguous(self):
        step = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides)):
            if extent != 1 and stride != step:
                return self.numel == 0
            step *= extent
        return True

    def at(self, i):
        """The element with row-major number i."""
        place = 0
        for extent, stride in zip(reversed(self.shape), reversed(self.strides)):
            place += i % extent * stride
            i //= extent
        size = DTYPES[self.dtype][1]
        return self.decode(memory(self.data + place * size, size))[0]

    def values(self, most=LIMIT):
        """The first `most` elements in row-major order."""
        n = min(self.numel, most)
        if n == 0:
            return ()
        size = DTYPES[self.dtype][1]
        if self.contiguous():
            return self.decode(memory(self.data, n * size))
        low = sum((e - 1) * s for e, s in zip(self.shape, self.strides) if s < 0)
        high = sum((e - 1) * s for e, s in zip(self.shape, self.strides) if s > 0)
        if high - low > 8 * LIMIT or self.numel > LIMIT:
            return tuple(self.at(i) for i in range(min(n, 4096)))
        block = self.decode(memory(self.data + low * size, (high - low + 1) * size))
        places = [-low]
        for extent, stride in zip(self.shape, self.strides):
            places = [p + k * stride for p in places for k in range(extent)]
        return tuple(block[p] for p in places[:n])

    def text(self, v):
        if DTYPES[self.dtype][0] == "bool":
            return "true" if v else "false"
        return "%.5g" % v if isinstance(v, float) else str(v)

    def sample(self):
        """The first and last values."""
        if self.numel <= 8:
            return " ".join(self.text(v) for v in self.values())
        first = self.values(4) if self.contiguous() else [self.at(i) for i in range(4)]
        last = [self.at(i) for i in range(self.numel - 3, self.numel)]
        return " ".join(self.text(v) for v in first) + " ... " + " ".join(self.text(v) for v in last)

    def norm(self):
        values = [float(v) for v in self.values()]
        if any(map(math.isnan, values)):
            return math.nan
        if any(map(math.isinf, values)):
            return math.inf
        return math.sqrt(math.fsum(v * v for v in values))

    def range(self):
        values = [float(v) for v in self.values()]
        good = [v for v in values if math.isfinite(v)]
        nan = sum(map(math.isnan, values))
        inf = len(values) - len(good) - nan
        text = "min %.5g  mean %.5g  max %.5g" % (min(good), math.fsum(good) / len(good), max(good)) if good else "nothing finite"
        text += "  NaN %d" % nan + ("  inf %d" % inf if inf else "")
        return text + ("  (of the first %d)" % len(values) if len(values) < self.numel else "")

    def made_by(self):
        if self.grad_fn:
            output = self.get("output", "I")
            node = Node(self.grad_fn)
            return "%s at %s%s" % (node.name(), node.where(), ", output %d" % output if output else "")
        return "none: a leaf" if self.requires_grad else "none"

    def facts(self):
        """(label, text) for each line of a printed tensor."""
        yield "values", self.sample() if self.numel else "none"
        if self.numel:
            yield "range", self.range()
        yield "strides", "%s%s" % (self.strides, "" if self.contiguous() else ", not contiguous") + (", a view" if self.base else "")
        yield "requires_grad", "true" if self.requires_grad else "false"
        if self.grad:
            g = Impl(self.grad)
            yield "grad", "%s, norm %.5g: %s" % (g.head(), g.norm(), g.sample())
        elif self.requires_grad and not self.grad_fn:
            yield "grad", "none yet"
        version = self.version()
        yield "version", "%d" % version + (", last written at " + self.writer() if version else "")
        yield "made by", self.made_by()

    def lines(self):
        return self.head() + "".join("\n  %-14s %s" % fact for fact in self.facts())

    def brief(self):
        return "%s: %s" % (self.head(), self.sample()) if self.numel else self.head()


# ---- nodes -------------------------------------------------------------------------------------------------------------

def symbol_of(address):
    text = gdb.execute("info symbol 0x%x" % address, to_string=True)
    return re.sub(r"( \+ \d+)?( in section .*)?\n?$", "", text, flags=re.S)


def short_name(full):
    """UnaryNode<Exp> for gradus::UnaryNode<gradus::kernels::Exp, float, gradus::Cpu>; as Node::name()."""
    head, _, tail = full.partition("<")
    head = head.rsplit("::", 1)[-1]
    if tail.startswith("gradus::kernels::"):
        return head + "<" + re.split("[,<>]", tail[len("gradus::kernels::"):])[0] + ">"
    return head


class Node:
    """A gradus::Node at an address."""
    _names = {}

    def __init__(self, address):
        self.address = address

    def get(self, field, code="Q"):
        return number(self.address + offset("gradus::Node", field), code)

    def full_name(self):
        table = number(self.address)
        if table not in Node._names:
            text = symbol_of(table)
            if not text.startswith("vtable for "):
                raise Failure("gradus: there is no node at 0x%x" % self.address)
            Node._names[table] = text[len("vtable for "):]
        return Node._names[table]

    def name(self):
        return short_name(self.full_name())

    def where(self):
        return where_text(self.address + offset("gradus::Node", "at"))

    def place(self):
        return where(self.address + offset("gradus::Node", "at"))

    def shape(self):
        at = self.address + offset("gradus::Node", "shape")
        n = number(at + offset("gradus::Shape", "n"), "i")
        return list(struct.unpack("<%dq" % n, memory(at + offset("gradus::Shape", "v"), 8 * n))) if 0 < n <= 8 else []

    def result(self):
        return "%s %s %s" % (DTYPES[self.get("dtype", "B")][0], DEVICES[self.get("device", "B")], self.shape())

    def inputs(self):
        """(node or None, output) for each input."""
        n, many = self.get("inputs_n", "H"), self.get("many")
        size = offset("gradus::Edge", None)
        at = many if many else self.address + offset("gradus::Node", "first")
        found = []
        for i in range(n):
            p = number(at + i * size + offset("gradus::Edge", "node"))
            found.append((Node(p) if p else None, number(at + i * size + offset("gradus::Edge", "output"), "I")))
        return found

    def saved(self):
        """(name, Impl or None, overwritten) in the order of the members."""
        found, at = [], self.get("saved")
        while at:
            value = number(at + offset("gradus::SavedBase", "value_"))
            impl = Impl(value) if value else None
            stale = impl is not None and impl.version() != number(at + offset("gradus::SavedBase", "version_"), "I")
            found.append((c_string(number(at + offset("gradus::SavedBase", "name_"))), impl, stale))
            at = number(at + offset("gradus::SavedBase", "next_"))
        return found[::-1]

    def leaf(self):
        """The tensor of an AccumulateNode."""
        if self.get("sequence") != 0:
            return None
        address = number(self.address + offset("gradus::Node", None))
        return Impl(address) if address else None

    def title(self):
        leaf = self.leaf()
        if leaf:
            return "%s %s" % (self.name(), ('"%s"' % leaf.name()) if leaf.name() else "(a leaf)")
        return "%s at %s" % (self.name(), self.where())

    def facts(self):
        yield "result", self.result()
        for i, (node, output) in enumerate(self.inputs()):
            text = node.title() + (", output %d" % output if output else "") if node else "no gradient wanted"
            yield "input %d" % i, text
        for name, impl, stale in self.saved():
            yield "saved " + name, (impl.brief() if impl else "nothing, or freed") + (", OVERWRITTEN since" if stale else "")
        waiting = self.get("pending")
        if waiting:
            yield "waiting", Impl(waiting).brief()

    def lines(self):
        return self.title() + "".join("\n  %-14s %s" % fact for fact in self.facts())


def is_node_type(t):
    t = t.strip_typedefs()
    if t.code != gdb.TYPE_CODE_STRUCT:
        return False
    if t.tag == "gradus::Node":
        return True
    return any(f.is_base_class and is_node_type(f.type) for f in t.fields())


def tensor_address(v):
    """Of the TensorImpl behind a Tensor, AnyTensor, Saved, Ref or TensorImpl value."""
    tag = v.type.strip_typedefs().tag or ""
    if tag == "gradus::TensorImpl":
        return int(v.address)
    if tag.startswith("gradus::Ref<gradus::TensorImpl"):
        return int(v["p_"])
    if tag.startswith("gradus::Saved"):
        v = v["value_"]
    return int(v["impl_"]["p_"])


TENSOR_TAGS = re.compile(r"^gradus::(Tensor<.*>|AnyTensor|TensorImpl|Ref<gradus::TensorImpl>|Saved<.*>|SavedBase)$")


def resolve(text):
    """The Impl or Node that an expression means."""
    try:
        v = gdb.parse_and_eval(text)
    except gdb.error as e:
        raise Failure("gradus: %s" % e)
    if v.is_optimized_out:
        raise Failure("gradus: %s was optimised out here; try `up`, or the tensor's address" % text)
    t = v.type.strip_typedefs()
    while t.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        v = v.referenced_value()
        t = v.type.strip_typedefs()
    if t.code == gdb.TYPE_CODE_INT:
        return Impl(int(v))
    if t.code == gdb.TYPE_CODE_PTR:
        v = v.dereference()
        t = v.type.strip_typedefs()
    tag = t.tag or ""
    if is_node_type(t):
        return Node(int(v.address))
    if tag.startswith("gradus::Ref<gradus::Node"):
        return Node(int(v["p_"]))
    if TENSOR_TAGS.match(tag):
        address = tensor_address(v)
        if not address:
            raise Failure("gradus: %s is an undefined tensor" % text)
        return Impl(address)
    raise Failure("gradus: %s is a %s, not a tensor or a node" % (text, t))


# ---- printers ----------------------------------------------------------------------------------------------------------

def under_mi():
    """Whether an editor talks to gdb: it wants children to unfold, a person wants lines."""
    try:
        with open("/proc/self/cmdline", "rb") as f:
            return any(re.match(rb"(-i=?|--?interpreter=?)?mi\d?$", a) for a in f.read().split(b"\0"))
    except OSError:
        return False


TREE = under_mi()


class TensorPrinter:
    def __init__(self, v):
        self.v = v
        self.children = self._children if TREE else None
        if not TREE:
            del self.children

    def impl(self):
        address = tensor_address(self.v)
        return Impl(address) if address else None

    def to_string(self):
        try:
            impl = self.impl()
            if impl is None:
                return "undefined tensor"
            return impl.brief() if TREE else impl.lines()
        except (gdb.error, gdb.GdbError) as e:
            return "tensor that cannot be read (%s)" % e

    def _children(self):
        try:
            impl = self.impl()
            if impl is not None:
                yield from impl.facts()
        except (gdb.error, gdb.GdbError):
            return


class NodePrinter:
    def __init__(self, v):
        self.v = v

    def to_string(self):
        try:
            return Node(int(self.v.address)).lines()
        except (gdb.error, gdb.GdbError, TypeError) as e:
            return "node that cannot be read (%s)" % e


class EdgePrinter:
    def __init__(self, v):
        self.v = v

    def to_string(self):
        p = int(self.v["node"]["p_"]) if self.v.type.strip_typedefs().tag == "gradus::Edge" else int(self.v["p_"])
        return "-> " + Node(p).title() if p else "no edge"


class ShapePrinter:
    def __init__(self, v):
        self.v = v

    def to_string(self):
        n = int(self.v["n"])
        return str([int(self.v["v"][i]) for i in range(n)]) if 0 <= n <= 8 else "shape of rank %d" % n


class Float16Printer:
    def __init__(self, v):
        self.v = v

    def to_string(self):
        bits = int(self.v["bits"])
        if self.v.type.strip_typedefs().tag == "gradus::half":
            return "%.5g" % struct.unpack("<e", struct.pack("<H", bits))[0]
        return "%.5g" % struct.unpack("<f", struct.pack("<I", bits << 16))[0]


class WherePrinter:
    def __init__(self, v):
        self.v = v

    def to_string(self):
        return where_text(int(self.v.address))


class Printers(gdb.printing.PrettyPrinter):
    def __init__(self):
        super().__init__("gradus", [])

    def __call__(self, v):
        t = v.type.strip_typedefs()
        if t.code != gdb.TYPE_CODE_STRUCT:
            return None
        tag = t.tag or ""
        if tag == "std::source_location" and v.address is not None:
            return WherePrinter(v)
        if TENSOR_TAGS.match(tag):
            return TensorPrinter(v)
        if tag == "gradus::Shape":
            return ShapePrinter(v)
        if tag in ("gradus::bf16", "gradus::half"):
            return Float16Printer(v)
        if tag in ("gradus::Edge", "gradus::Ref<gradus::Node>"):
            return EdgePrinter(v)
        if v.address is not None and is_node_type(t):
            return NodePrinter(v)
        return None


# ---- the graph behind a tensor -----------------------------------------------------------------------------------------

def behind(root):
    """The nodes behind a node, each once, later ones first, leaves last."""
    seen, order, queue = {root.address}, [root], [root]
    while queue:
        for node, _ in queue.pop().inputs():
            if node and node.address not in seen:
                seen.add(node.address)
                order.append(node)
                queue.append(node)
    return sorted(order, key=lambda n: -n.get("sequence") if n.get("sequence") else 1)


def root_of(text):
    found = resolve(text)
    if isinstance(found, Node):
        return found
    if found.grad_fn:
        return Node(found.grad_fn)
    raise Failure("gradus: %s has no graph: %s" % (text, "it is a leaf" if found.requires_grad else "it does not require gradients"))


def escape(s):
    return s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def graph_svg(nodes):
    """Rows by the longest path from the root, each row ordered by where its neighbours stand."""
    number_of = {n.address: i for i, n in enumerate(nodes)}
    edges = [(number_of[n.address], number_of[m.address]) for n in nodes for m, _ in n.inputs() if m]
    row = [0] * len(nodes)
    for a, b in sorted(edges):                       # nodes are in topological order
        row[b] = max(row[b], row[a] + 1)
    out = {}
    for a, b in edges:
        out.setdefault(b, []).append(a)
    for b, n in enumerate(nodes):                    # a leaf stands right below its first use
        if n.get("sequence") == 0 and b in out:
            row[b] = min(max(row[a] + 1 for a in out[b]), row[b])
    rows = [[i for i in range(len(nodes)) if row[i] == r] for r in range(max(row) + 1)]
    place = {i: k for r in rows for k, i in enumerate(r)}
    for _ in range(8):
        for r in rows:
            def middle(i):
                near = [place[a] for a in out.get(i, [])] + [place[b] for a, b in edges if a == i]
                return sum(near) / len(near) if near else place[i]
            r.sort(key=middle)
            place.update({i: k for k, i in enumerate(r)})
    w, h, dx, dy = 176, 44, 200, 84
    width = max(len(r) for r in rows) * dx + 40
    x = {i: 20 + (width - 40 - len(r) * dx) / 2 + k * dx for r in rows for k, i in enumerate(r)}
    y = {i: 20 + k * dy for k, r in enumerate(rows) for i in r}
    s = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12">'
         '<rect width="100%%" height="100%%" fill="white"/>' % (width, len(rows) * dy + 20)]
    for a, b in edges:
        x1, y1, x2, y2 = x[a] + w / 2, y[a] + h, x[b] + w / 2, y[b]
        s.append('<path d="M%g %gC%g %g %g %g %g %g" fill="none" stroke="#8a97a5"/>' % (x1, y1, x1, y1 + 26, x2, y2 - 26, x2, y2))
    for i, n in enumerate(nodes):
        leaf = n.leaf()
        first = (leaf.name() or "leaf") if leaf else n.name()
        second = "%s %s" % (leaf.shape if leaf else n.shape(), "" if leaf else n.where())
        s.append('<rect x="%g" y="%g" width="%d" height="%d" rx="7" fill="%s" stroke="#8a97a5"/>'
                 '<text x="%g" y="%g" text-anchor="middle" font-weight="600">%s</text>'
                 '<text x="%g" y="%g" text-anchor="middle" fill="#5d6b7a" font-size="11">%s</text>'
                 % (x[i], y[i], w, h, "#e6f5ec" if leaf else "#eef3fb", x[i] + w / 2, y[i] + 18, escape(first),
                    x[i] + w / 2, y[i] + 35, escape(second)))
    return "\n".join(s) + "\n</svg>\n"


class Gradus(gdb.Command):
    """Tensors and gradients of gradus: gradus graph, break-backward, next-grad, step-grad, grads, why. `help gradus`."""

    def __init__(self):
        super().__init__("gradus", gdb.COMMAND_DATA, prefix=True)


class Graph(gdb.Command):
    """gradus graph X [--svg FILE]: the ops behind tensor X, the last one first; with --svg as a drawing."""

    def __init__(self):
        super().__init__("gradus graph", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, text, tty):
        text, _, file = text.partition("--svg")
        if not text.strip():
            raise Failure("usage: gradus graph X [--svg FILE]")
        nodes = behind(root_of(text.strip()))
        if file.strip():
            with open(os.path.expanduser(file.strip()), "w") as f:
                f.write(graph_svg(nodes))
            print("%d nodes drawn in %s" % (len(nodes), file.strip()))
            return
        number_of = {n.address: i for i, n in enumerate(nodes)}
        table = []
        for i, n in enumerate(nodes):
            leaf = n.leaf()
            inputs = " ".join("#%d%s" % (number_of[m.address], "." + str(k) if k else "") if m else "-" for m, k in n.inputs())
            table.append(("#%d" % i, (leaf.name() or "leaf") if leaf else n.name(), str(leaf.shape if leaf else n.shape()),
                          "" if leaf else n.where(), "<- " + inputs if inputs else ""))
        widths = [max(len(r[k]) for r in table) for k in range(5)]
        for r in table:
            print("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip())


# ---- the backward pass -------------------------------------------------------------------------------------------------

class Run:
    """The gradus::BackwardRun in progress: order, n, i, dys, dys_n, outer; 8 bytes each."""

    def __init__(self, address):
        self.order, self.n, self.i, self.dys, self.dys_n, self.outer = struct.unpack("<6Q", memory(address, 48))

    @staticmethod
    def current():
        symbol = gdb.lookup_minimal_symbol("gradus_backward_run") if hasattr(gdb, "lookup_minimal_symbol") else None
        try:
            at = int(symbol.value().address) if symbol else int(gdb.parse_and_eval("(long)&gradus_backward_run"))
        except gdb.error:
            raise Failure("gradus: this program has no backward pass of gradus")
        p = number(at)
        return Run(p) if p else None

    def node(self, k=None):
        return Node(number(self.order + 8 * (self.i - 1 if k is None else k)))

    def gradient(self, k=0):
        p = number(self.dys + 8 * k)
        return Impl(p) if p else None


class Log(gdb.Breakpoint):
    """Notes the norm of every gradient on its way, for `why`. Never stops."""
    norms = {}
    installed = None

    def stop(self):
        try:
            run = Run.current()
            node = run.node()
            key = (node.address, node.get("sequence"))
            Log.norms[key] = [g.norm() if g else 0.0 for g in map(run.gradient, range(run.dys_n))]
        except (gdb.error, gdb.GdbError):
            pass
        return False

    @staticmethod
    def on():
        if Log.installed is None or not Log.installed.is_valid():
            Log.installed = Log("*gradus_next_node", internal=True)
            Log.installed.silent = True


def dy_text(run):
    parts = []
    for k in range(run.dys_n):
        g = run.gradient(k)
        label = "dy" if run.dys_n == 1 else "dy%d" % k
        parts.append("  %-14s %s" % (label, "%s, norm %.5g: %s" % (g.head(), g.norm(), g.sample()) if g else "none"))
    return "\n".join(parts)


def this_node():
    """The node whose backward() the newest frame is in: `this`, or the register of the first argument."""
    frame = gdb.newest_frame()
    try:
        v = frame.read_var("this")
        if not v.is_optimized_out:
            return Node(int(v))
    except (ValueError, gdb.error):
        pass
    for register in ("rdi", "x0"):
        try:
            return Node(int(frame.read_register(register)))
        except (ValueError, gdb.error):
            continue
    raise Failure("gradus: cannot tell which node this is")


class BackwardBreak(gdb.Breakpoint):
    """Stops in the backward() of the nodes that a test accepts."""

    def __init__(self, function, accept, what):
        super().__init__(function=function)
        self.accept, self.what = accept, what

    def stop(self):
        try:
            if gdb.newest_frame().name() == "gradus::Node::backward_all":      # calls backward(), which stops
                return False
            node = this_node()
            node.full_name()
            if not self.accept(node):
                return False
            run = Run.current()
            print("\n%s\n%s" % (node.lines(), dy_text(run) if run else ""))
            return True
        except (gdb.error, gdb.GdbError):
            return False                             # another function of that name


def ops_of_program():
    """The short names of all ops that this program may record."""
    text = gdb.execute("info functions -q ::backward", to_string=True)
    names = set()
    for m in re.finditer(r"([\w:]+(?:<[^()]*>)?)::backward(?:_all)?\(", text):
        name = short_name(m.group(1))
        if name.split("<")[0].endswith("Node") and name != "Node":
            names.add(name)
    return names


def same_op(name, asked):
    name, asked = name.lower(), asked.lower()
    forms = {name, name.replace("node", "", 1)}
    if "<" in name:
        forms.add(name[name.index("<") + 1:-1])
        forms.add(name.split("<")[0])
        forms.add(name.split("<")[0].replace("node", "", 1))
    return asked in forms or asked.replace("_", "") in forms


class BreakBackward(gdb.Command):
    """gradus break-backward OP|PARAMETER|FILE:LINE: stop in the backward of these nodes.

OP         softmax or SoftmaxNode: each node of this op
PARAMETER  fc1.weight, or an expression such as net.fc1.weight: where the gradient reaches it
FILE:LINE  model.hpp:31: the nodes that this line of yours made"""

    def __init__(self):
        super().__init__("gradus break-backward", gdb.COMMAND_BREAKPOINTS, gdb.COMPLETE_EXPRESSION)

    def invoke(self, text, tty):
        text = text.strip().strip('"')
        if not text:
            raise Failure("usage: gradus break-backward OP|PARAMETER|FILE:LINE")
        line = re.match(r"(.+):(\d+)$", text)
        ops = ops_of_program()
        matching = sorted(n for n in ops if same_op(n, text))
        if matching:
            accept = lambda node: same_op(node.name(), text)
            what = "each " + ", ".join(matching)
        elif line and "::" not in text:
            file, at = line.group(1), int(line.group(2))

            def accept(node):
                name, number_, path = node.place()
                return number_ == at and (name == file or path.endswith("/" + file) or path == file)
            what = "the nodes made at %s" % text
        else:
            try:
                found = resolve(text)
            except gdb.GdbError as e:
                if re.match(r"gradus: .* (is|was) ", str(e)):
                    raise
                found = None
            if isinstance(found, Node):
                address = found.address
            elif found is not None and found.grad_fn:
                address = found.grad_fn
            else:
                address = None
            if address is not None:
                accept = lambda node: node.address == address
                what = Node(address).title()
            else:
                if found is None and not re.match(r"[\w.]+$", text):
                    raise Failure("gradus: %r is no op, parameter or line of this program" % text)
                tensor = found.address if found else None

                def accept(node):
                    leaf = node.leaf()
                    return leaf is not None and (leaf.address == tensor if tensor else leaf.name() == text)
                what = "the gradient of %s" % (found.head() if found else 'the parameter "%s"' % text)
                if found is None:
                    print("no op is called so (there are: %s); waiting for a parameter with this name" %
                          ", ".join(sorted(ops)[:12]) + (", ..." if len(ops) > 12 else ""))
        Log.on()
        for function in ("backward", "backward_all"):
            try:
                BackwardBreak(function, accept, what)
            except gdb.error:
                if function == "backward":
                    raise Failure("gradus: this program has no backward()")
        print("stops at %s" % what)


def run_to(spec):
    """Continues to a temporary breakpoint; True when it got there."""
    b = gdb.Breakpoint(spec, internal=True, temporary=True)
    b.silent = True
    out = gdb.execute("continue", to_string=True)
    arrived = not b.is_valid() or b.hit_count > 0
    if not arrived:
        b.delete()
        if out.strip():
            print(out.strip())
    return arrived


def stopped_before_node():
    try:
        return gdb.newest_frame().name() == "gradus_next_node"
    except gdb.error:
        return False


def next_grad():
    try:
        gdb.selected_thread().is_valid()
    except AttributeError:
        raise Failure("gradus: the program is not running")
    Log.on()
    if not run_to("*gradus_next_node"):
        return False
    run = Run.current()
    node = run.node()
    print("node %d of %d" % (run.i, run.n))
    print(node.lines())
    print(dy_text(run))
    return True


class NextGrad(gdb.Command):
    """gradus next-grad: run to the next node of the backward pass, before its backward()."""

    def __init__(self):
        super().__init__("gradus next-grad", gdb.COMMAND_RUNNING)

    def invoke(self, text, tty):
        next_grad()


class StepGrad(gdb.Command):
    """gradus step-grad: run into the backward() of the next node (of this one after next-grad)."""

    def __init__(self):
        super().__init__("gradus step-grad", gdb.COMMAND_RUNNING)

    def invoke(self, text, tty):
        if not stopped_before_node() and not next_grad():
            return
        run = Run.current()
        node = run.node()
        slot = 3 if run.dys_n > 1 else 2             # after the two destructors: backward, backward_all
        address = number(number(node.address) + 8 * slot)
        if not run_to("*0x%x" % address):
            return
        sal = gdb.find_pc_line(gdb.newest_frame().pc())
        try:                                         # not optimised: arguments are in place after the prologue
            ready = int(gdb.newest_frame().read_var("this")) == node.address
        except (ValueError, gdb.error):
            ready = True
        if not ready and sal.last:
            run_to("*0x%x" % (sal.last + 1))
        gdb.execute("frame")


class Grads(gdb.Command):
    """gradus grads: the gradients that wait for their nodes in the backward pass."""

    def __init__(self):
        super().__init__("gradus grads", gdb.COMMAND_DATA)

    def invoke(self, text, tty):
        run = Run.current()
        if run is None:
            raise Failure("gradus: no backward pass is running")
        print("node %d of %d, %s" % (run.i, run.n, run.node().title()))
        waiting = 0
        for k in range(run.i, run.n):
            node = run.node(k)
            p = node.get("pending")
            gradients = [(0, p)] if p else []
            extra = node.get("extra")
            if extra:
                at = extra + offset("gradus::NodeExtra", "more_pending")
                first, last = number(at), number(at + 8)
                gradients += [(1 + j, number(first + 8 * j)) for j in range((last - first) // 8) if number(first + 8 * j)]
            for output, g in gradients:
                waiting += 1
                impl = Impl(g)
                print("  for %s%s: %s, norm %.5g" % (node.title(), ", output %d" % output if output else "", impl.head(), impl.norm()))
        print("%d gradient%s wait%s" % (waiting, "" if waiting == 1 else "s", "s" if waiting == 1 else ""))


class Why(gdb.Command):
    """gradus why X [LOSS]: the path from the loss to X, with the norm of the gradient at each node that has run.
X may be the name of a parameter; LOSS may be left out while a backward pass runs. Norms are noted from the first next-grad, step-grad or break-backward on."""

    def __init__(self):
        super().__init__("gradus why", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, text, tty):
        words = gdb.string_to_argv(text)
        if not 1 <= len(words) <= 2:
            raise Failure("usage: gradus why X [LOSS]")
        if len(words) == 2:
            root = root_of(words[1])
        else:
            run = Run.current()
            if run is None:
                raise Failure("gradus: no backward pass is running: say from where, gradus why X LOSS")
            root = run.node(0)
        try:
            x = resolve(words[0])
        except gdb.GdbError:
            named = [n for n in behind(root) if n.leaf() and n.leaf().name() == words[0]]
            if not named:
                raise
            x = named[0]
        if isinstance(x, Node):
            target = x.address
        elif x.grad_fn:
            target = x.grad_fn
        elif not x.requires_grad:
            print("%s gets no gradient: it does not require one (%s)" % (words[0], x.head()))
            return
        else:
            target = x.get("accumulator")
        parent, queue = {root.address: None}, [root]
        while queue and target not in parent:
            nxt = []
            for node in queue:
                for m, _ in node.inputs():
                    if m and m.address not in parent:
                        parent[m.address] = node
                        nxt.append(m)
            queue = nxt
        if not target or target not in parent:
            print("%s gets no gradient: no path leads to it from %s" % (words[0], root.title()))
            return
        path, node = [], Node(target)
        while node:
            path.append(node)
            node = parent[node.address]
        for node in reversed(path):
            norms = Log.norms.get((node.address, node.get("sequence")))
            print("%-12s %s  %s" % ("|dy| %.4g" % math.hypot(*norms) if norms else "|dy| -", node.title(), node.shape()))


HEADERS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_ours(frame):
    name = frame.name() or "?"
    if re.match(r"(gradus|std)::|\?$|_|raise", name):
        return True
    function = frame.function()                      # where it is defined, whatever was put inline here
    return function is None or function.symtab.fullname().startswith((HEADERS + os.sep, "/usr/include/"))


def on_stop(event):
    """After the SIGTRAP of debug::TraceNan: up to the first frame that is the user's."""
    if isinstance(event, gdb.BreakpointEvent):
        return
    frame, depth = gdb.newest_frame(), 0
    while frame is not None and depth < 10 and "stop_at_bad_value" not in (frame.name() or ""):
        frame, depth = frame.older(), depth + 1
    if frame is None or depth >= 10:
        return
    while frame.older() is not None and is_ours(frame):
        frame = frame.older()
    frame.select()
    print("gradus: stopped by TraceNan; the line that made the value, or that started the backward pass:")
    gdb.execute("frame")


def register():
    objfile = gdb.current_objfile()
    gdb.printing.register_pretty_printer(objfile, Printers(), replace=True)
    gdb.events.new_objfile.connect(lambda event: (_offsets.clear(), Node._names.clear()))
    gdb.events.stop.connect(on_stop)
    for command in (Gradus, Graph, BreakBackward, NextGrad, StepGrad, Grads, Why):
        command()


register()
