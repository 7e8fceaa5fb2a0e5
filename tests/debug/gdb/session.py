# A scripted session: gdb -batch -nx -iex "set auto-load safe-path /" -x session.py PROGRAM
# Each command's text must contain every pattern, in this order. gdb.py is found through the program itself (debug/gdb.hpp).
import re
import xml.etree.ElementTree

import gdb

failures = 0


def expect(command, *patterns):
    global failures
    try:
        text = gdb.execute(command, to_string=True)
        if command == "continue":                    # where it stopped gdb prints past to_string
            text += gdb.execute("frame", to_string=True) if gdb.selected_inferior().pid else "the program has ended\n"
    except gdb.error as e:
        text = "error: %s" % e
    place = 0
    for p in patterns:
        found = re.compile(p, re.M).search(text, place)
        if not found:
            failures += 1
            print("FAILED: (gdb) %s\n%s\n--- has no (or not in this order): %s\n" % (command, text, p))
            return
        place = found.end()
    print("ok: (gdb) %s" % command)


for setting in ("pagination off", "confirm off", "width 0", "breakpoint pending off"):
    gdb.execute("set " + setting)
source = open(gdb.decode_line("look")[1][0].symtab.fullname()).read().split("\n")


def line_of(text):
    return next(i + 1 for i, s in enumerate(source) if text in s)


h, y, loss, written = line_of("auto h ="), line_of("auto y ="), line_of("auto loss ="), line_of("w -= ")

# ---- gradus.natvis names members that are there
here = gdb.decode_line("look")[1][0].symtab.fullname()
natvis = open(here.replace("tests/debug/gdb/target.cpp", "include/gradus/debug/gradus.natvis")).read()
xml.etree.ElementTree.fromstring(natvis.encode())
members = {f.name for f in gdb.lookup_type("gradus::TensorImpl").fields()}
used = set(re.findall(r"p_-&gt;(\w+)|p_->(\w+)", natvis))
used = {a or b for a, b in used}
if len(used) < 8 or not used <= members:
    failures += 1
    print("FAILED: gradus.natvis uses", used - members)

# ---- before the program runs
expect("gradus grads", "no backward pass is running")
expect("gradus graph", "usage: gradus graph X")

# ---- tensors
gdb.execute("break look")
gdb.execute("break look_at")
gdb.execute("run", to_string=True)
expect("print x", r"float32 cpu \[2, 3\]", r"values +1 2 3 4 5 6", r"range +min 1  mean 3\.5  max 6  NaN 0", r"strides +\[3, 1\]",
       "requires_grad +false", "version +0", "made by +none$")
expect("print w", r'float32 cpu \[3, 2\] "fc1\.weight"', r"values +0\.5 -1 0\.25 2 1 -0\.125", "requires_grad +true",
       "grad +none yet", "made by +none: a leaf")
expect("print loss", r"float32 cpu \[\]", r"values +0\.39456", r"made by +AffineNode at target\.cpp:%d" % loss)
expect("info args", r"x = .*float32 cpu \[2, 3\]", r"loss = .*float32 cpu \[\]")
expect("print x.impl_.p_->shape", r"\[2, 3\]")

# ---- the graph
expect("gradus graph loss",
       r"#0 +AffineNode +\[\] +target\.cpp:%d +<- #1$" % loss,
       r"#1 +SumNode +\[\] +target\.cpp:%d +<- #2$" % loss,
       r"#2 +UnaryNode<Square> +\[2, 2\] +target\.cpp:%d +<- #3$" % loss,
       r"#3 +SoftmaxNode +\[2, 2\] +target\.cpp:%d +<- #4$" % y,
       r"#4 +MatmulNode +\[2, 2\] +target\.cpp:%d +<- #5 #7$" % y,
       r"#5 +UnaryNode<Tanh> +\[2, 2\] +target\.cpp:%d +<- #6$" % h,
       r"#6 +MatmulNode +\[2, 2\] +target\.cpp:%d +<- - #8$" % h,
       r"#7 +fc2\.weight +\[2, 2\]$", r"#8 +fc1\.weight +\[3, 2\]$")
expect("gradus graph x", "x has no graph: it does not require gradients")
expect("gradus graph w", "w has no graph: it is a leaf")
expect("gradus graph nothing_like_it", "gradus: No symbol")
expect("gradus graph loss --svg graph.svg", "9 nodes drawn in graph.svg")
svg = open("graph.svg").read()
if svg.count("<rect") != 10 or "UnaryNode&lt;Tanh&gt;" not in svg or svg.count("<path") != 8:
    failures += 1
    print("FAILED: graph.svg\n" + svg)
expect("gradus why w loss", r"\|dy\| - +AffineNode at target\.cpp:%d  \[\]" % loss, "SoftmaxNode", "UnaryNode<Tanh>",
       r'AccumulateNode "fc1\.weight"')
expect("gradus why x loss", "x gets no gradient: it does not require one")

# ---- the backward pass
expect("gradus break-backward sofmax", "no op is called so", "SoftmaxNode|AddNode", 'the parameter "sofmax"')
expect("delete 3 4")
expect("gradus break-backward softmax", "stops at each SoftmaxNode")
expect("gradus break-backward target.cpp:%d" % h, r"stops at the nodes made at target\.cpp:%d" % h)
expect("gradus break-backward fc1.weight", 'stops at the gradient of the parameter "fc1.weight"')
expect("continue", r"^SoftmaxNode at target\.cpp:%d" % y, r"result +float32 cpu \[2, 2\]", r"input 0 +MatmulNode at target\.cpp:%d" % y,
       r"saved y +float32 cpu \[2, 2\]: 0\.12037 0\.87963 0\.11921 0\.88079",
       r"dy +float32 cpu \[2, 2\], norm 0\.62814", "SoftmaxNode<float, gradus::Cpu>::backward")
expect("print *this", r"SoftmaxNode at target\.cpp:%d" % y, "saved y")
expect("gradus grads", r"node 4 of 9, SoftmaxNode at target\.cpp:%d" % y, "0 gradients wait")
expect("gradus next-grad", "node 5 of 9", r"MatmulNode at target\.cpp:%d" % y, 'input 1 +AccumulateNode "fc2.weight"', "dy .*norm 0.080179")
expect("gradus step-grad", "MatmulNode<float, gradus::Cpu>::backward")
expect("gradus next-grad", "node 6 of 9", r"UnaryNode<Tanh> at target\.cpp:%d" % h)
expect("gradus grads", 'for AccumulateNode "fc2.weight": float32 cpu \\[2, 2\\], norm 0.15991', "1 gradient waits")
expect("gradus why fc1.weight", r"\|dy\| 1 +AffineNode", r"\|dy\| 0\.6281 +SoftmaxNode",
       r"\|dy\| 0\.08018 +MatmulNode", r"UnaryNode<Tanh>", r'\|dy\| - +AccumulateNode "fc1\.weight"')
expect("continue", r"^UnaryNode<Tanh> at target\.cpp:%d" % h, "UnaryNode<gradus::kernels::Tanh, float, gradus::Cpu>::backward")
expect("continue", r"^MatmulNode at target\.cpp:%d" % h, "input 0 +no gradient wanted")
expect("continue", r'AccumulateNode "fc1\.weight"', r"dy +float32 cpu \[3, 2\]")

# ---- after it
expect("continue", "look")
expect("print w", r"grad +float32 cpu \[3, 2\], norm \d", "version +0")
expect("gradus grads", "no backward pass is running")
expect("print *y.impl_.p_->grad_fn", "SoftmaxNode", "saved y +nothing, or freed")
expect("continue", "look_at")
expect("print x", "version +1, last written at target.cpp:%d" % written)
expect("continue", "look_at")
expect("print x", r"float32 cpu \[3, 2\]", "values +1 4 2 5 3 6", r"strides +\[1, 3\], not contiguous, a view")
expect("continue", "look_at")
expect("print x", r"float64 cpu \[100\]", r"values +0 1 2 3 \.\.\. 97 98 99", r"min 0  mean 49\.5  max 99  NaN 0")
expect("continue", "look_at")
expect("print x", "values +1 nan 3 inf", "min 1  mean 2  max 3  NaN 1  inf 1")
expect("continue", "look_at")
expect("print x", r"bfloat16 cpu \[2, 3\]", "values +1 2 3 4 5 6")
expect("continue", "look_at")
expect("print x", r"float16 cpu \[2, 3\]", "values +1 2 3 4 5 6")
expect("continue", "look_at")
expect("print x", r"bool cpu \[3\]", "values +true false true")
expect("continue", "look_at")
expect("print x", r"int64 cpu \[3\]", "values +7 8 9")
expect("continue", "look_at")
expect("print x", "undefined tensor")
expect("gradus graph x", "x is an undefined tensor")
expect("print (gradus::TensorImpl*)0", "0x0")

# ---- TraceNan stops in the user's frame
expect("continue", "SIGTRAP|gradus: stopped by TraceNan|#\\d+ .*main", r"target\.cpp:%d" % line_of("// the user's line"))
expect("info locals", "bad = |w = ")
expect("continue", "look_at")
expect("print x", r"values +nan nan nan", "NaN 6", r"made by +UnaryNode<Log> at target\.cpp:%d" % line_of("// the user's line"))
expect("delete")
expect("continue", "the program has ended")

print("%d failed" % failures)
gdb.execute("quit %d" % (1 if failures else 0))
