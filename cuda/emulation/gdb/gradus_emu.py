"""gdb commands for kernels on gradus's emulated CUDA device.

    source cuda/emulation/gdb/gradus_emu.py

    gradus threads              the threads of the block that runs: state, and where each waits
    gradus cuda-thread B T      where thread T of block B is: its line, its index, its back-trace
    gradus bt T                 back-trace of thread T of the block that runs, while it is parked
    gradus break KERNEL:bB:tT   stops on the first line of the kernel in that thread
                                (GRADUS_EMU_BREAK=KERNEL:bB:tT in gdb's environment does the same)

Memory is read only, with one exception: for the back-trace of a parked thread the registers of the stopped one are
set to the saved ones and put back. With GRADUS_EMU_BACKEND=threads each CUDA thread is a native thread named b2.t17, and
gdb's own `info threads` and `thread apply` do the same.
"""
import os
import re

import gdb

STATES = ["not started", "ready", "running", "at a barrier", "in a warp collective", "at a named barrier",
          "at the grid barrier", "ended"]


def running_worker():
    """The worker that runs a block on this host thread; of several, the one whose stack gdb looks at."""
    workers = gdb.parse_and_eval("gradus_emu_workers")
    sp = int(gdb.newest_frame().read_register("rsp" if is_x86() else "sp"))
    first = None
    for i in range(workers.type.range()[1] + 1):
        pointer = workers[i]
        if int(pointer) == 0:
            break
        worker = pointer.dereference()
        if int(worker["running"]) == 0:
            continue
        first = first or worker
        fiber = worker["running"].dereference()["fiber"]
        if int(fiber) and int(fiber["memory"]) <= sp < int(fiber["memory"]) + int(fiber["bytes"]):
            return worker
    if first is None:
        raise gdb.GdbError("no kernel runs on the emulated device")
    return first


def is_x86():
    return "x86-64" in gdb.selected_inferior().architecture().name()


def elements(vector):
    """The elements of a std::vector, as values."""
    impl = vector["_M_impl"]
    start, finish = impl["_M_start"], impl["_M_finish"]
    return [start[i] for i in range(int(finish - start))]


def place(site):
    """softmax.cu:42 of a std::source_location."""
    impl = site["_M_impl"]
    if int(impl) == 0:
        return "?"
    name = impl["_M_file_name"].string()
    return "%s:%d" % (os.path.basename(name), int(impl["_M_line"]))


def state_of(thread):
    return int(thread["state"])


def index(i):
    return "(%d, %d, %d)" % (int(i["x"]), int(i["y"]), int(i["z"]))


def find(worker, block, rank):
    for thread in elements(worker["threads"]):
        if int(thread["rank"]) == rank and (block is None or int(thread["block"]["linear"]) == block):
            return thread
    raise gdb.GdbError("no such thread in the blocks that run now: block %s, thread %d" %
                       ("any" if block is None else block, rank))


def describe(thread):
    state = state_of(thread)
    text = "b%d.t%-4d %-14s %-20s" % (int(thread["block"]["linear"]), int(thread["rank"]), index(thread["index"]), STATES[state])
    return text + (" " + place(thread["at"]) if 3 <= state <= 6 else "")


class SavedRegisters:
    """The registers of a parked fiber, in the order in which boost::context saves them on its stack."""

    def __init__(self, context):
        word = gdb.lookup_type("unsigned long").pointer()
        at = gdb.Value(context).cast(word)
        names = ["r12", "r13", "r14", "r15", "rbx", "rbp", "rip"]
        self.values = {name: int(at[1 + i]) for i, name in enumerate(names)}
        self.values["rsp"] = context + 8 * (1 + len(names))


def backtrace_of(thread):
    if state_of(thread) == 2:
        return gdb.execute("bt", to_string=True)
    if state_of(thread) in (0, 7):
        return "  it has not started\n" if state_of(thread) == 0 else "  it has ended\n"
    fiber = thread["fiber"]
    if int(fiber["native"]):
        return "  it is the native thread b%d.t%d: see `info threads`\n" % (int(thread["block"]["linear"]), int(thread["rank"]))
    if not is_x86():
        raise gdb.GdbError("back-traces of parked threads are for x86-64; use GRADUS_EMU_BACKEND=threads")
    saved = SavedRegisters(int(fiber["context"])).values
    selected = gdb.selected_frame()
    gdb.newest_frame().select()
    before = {name: int(gdb.parse_and_eval("(unsigned long)$" + name)) for name in saved}
    try:
        for name, value in saved.items():
            gdb.execute("set $%s = %d" % (name, value), to_string=True)
        return gdb.execute("bt", to_string=True)
    finally:
        for name, value in before.items():
            gdb.execute("set $%s = %d" % (name, value), to_string=True)
        if selected.is_valid():
            selected.select()


def ensure_prefix():
    try:
        gdb.execute("help gradus", to_string=True)
    except gdb.error:
        class Gradus(gdb.Command):
            """Commands of gradus; `help gradus` lists them."""

            def __init__(self):
                super().__init__("gradus", gdb.COMMAND_DATA, prefix=True)

        Gradus()


class Threads(gdb.Command):
    """gradus threads: the threads of the block that runs on the emulated device, what they do and where they wait.
Neighbours that do the same at the same place share a line; `gradus threads all` has one for each."""

    def __init__(self):
        super().__init__("gradus threads", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        worker = running_worker()
        launch = worker["launch"]
        print("%s, grid %s, block %s" % (launch["info"]["op"].string() or "a kernel", index(launch["info"]["grid"]), index(launch["info"]["block"])))
        threads = elements(worker["threads"])
        if argument.strip() == "all":
            for thread in threads:
                print(describe(thread))
            return
        groups = []
        for thread in threads:
            key = (int(thread["block"]["linear"]), state_of(thread), place(thread["at"]) if 3 <= state_of(thread) <= 6 else "")
            rank = int(thread["rank"])
            if groups and groups[-1][0] == key and groups[-1][2] == rank - 1:
                groups[-1][2] = rank
            else:
                groups.append([key, rank, rank])
        for (block, state, where), first, last in groups:
            ranks = "t%d" % first if first == last else "t%d-t%d" % (first, last)
            print("b%d %-11s %-20s %s" % (block, ranks, STATES[state], where))


class Backtrace(gdb.Command):
    """gradus bt T: back-trace of thread T of the block that runs, from where it waits."""

    def __init__(self):
        super().__init__("gradus bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 1 or not words[0].isdigit():
            raise gdb.GdbError("gradus bt T: the number of a thread in the block")
        thread = find(running_worker(), None, int(words[0]))
        print(describe(thread))
        print(backtrace_of(thread), end="")


class CudaThread(gdb.Command):
    """gradus cuda-thread B T: where thread T of block B is."""

    def __init__(self):
        super().__init__("gradus cuda-thread", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 2 or not all(w.isdigit() for w in words):
            raise gdb.GdbError("gradus cuda-thread B T: the numbers of a block and of a thread in it")
        thread = find(running_worker(), int(words[0]), int(words[1]))
        print(describe(thread))
        print(backtrace_of(thread), end="")


class KernelBreak(gdb.Breakpoint):
    """Stops in one CUDA thread of a kernel."""

    def __init__(self, kernel, block, rank):
        super().__init__(function=kernel)
        self.block, self.rank = block, rank

    def stop(self):
        worker = running_worker()
        thread = worker["running"].dereference()
        return int(thread["rank"]) == self.rank and int(thread["block"]["linear"]) == self.block


def break_at(text):
    match = re.fullmatch(r"(.+):b(\d+):t(\d+)", text.strip())
    if not match:
        raise gdb.GdbError("written KERNEL:b2:t17, not " + text)
    KernelBreak(match.group(1), int(match.group(2)), int(match.group(3)))


class Break(gdb.Command):
    """gradus break KERNEL:bB:tT: stops on the first line of the kernel in thread T of block B."""

    def __init__(self):
        super().__init__("gradus break", gdb.COMMAND_BREAKPOINTS)

    def invoke(self, argument, from_tty):
        break_at(argument)


ensure_prefix()
Threads()
Backtrace()
CudaThread()
Break()
if os.environ.get("GRADUS_EMU_BREAK"):
    gdb.execute("set breakpoint pending on")
    break_at(os.environ["GRADUS_EMU_BREAK"])
    gdb.execute("unset environment GRADUS_EMU_BREAK")     # or the program would stop by itself, a little earlier
