# Writes include/gradus/data/unicode_tables.hpp from Python's unicodedata: python unicode_tables.py > HEADER
import textwrap
import unicodedata as u

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(want):
    out = []
    for c in ALL:
        if want(u.category(chr(c))):
            if out and out[-1][1] == c - 1: out[-1][1] = c
            else: out.append([c, c])
    return out


def emit(name, type_, rows):
    body = ", ".join("{" + ", ".join(map(str, r)) + "}" for r in rows)
    print(f"inline constexpr {type_} {name}[] = {{\n" + textwrap.fill(body, 126, initial_indent="  ", subsequent_indent="  ") + "};")


lower = []   # first, last, step, difference
for c in ALL:
    l = chr(c).lower()
    if len(l) == 1 and ord(l) != c:
        d = ord(l) - c
        if lower and lower[-1][3] == d and c - lower[-1][1] in (1, 2) and lower[-1][2] in (0, c - lower[-1][1]):
            lower[-1][2] = c - lower[-1][1]
            lower[-1][1] = c
        else: lower.append([c, c, 0, d])
stripped = []
for c in ALL:
    if 0xAC00 <= c <= 0xD7A3: continue   # Hangul syllables: by arithmetic
    n = [ord(x) for x in u.normalize("NFD", chr(c)) if u.category(x) != "Mn"]
    if n != [c] and u.category(chr(c)) != "Mn":
        assert len(n) <= 3
        stripped.append([c] + n + [0] * (3 - len(n)))
print(f"""// Unicode {u.unidata_version}: the categories and mappings that tokenizers need. Made by tests/recorded/tokenizers/unicode_tables.py.
#pragma once
#include <cstdint>

namespace gradus::data::unicode {{

struct Range {{
  uint32_t first, last;
}};
/// Every `step`-th from first to last, lower case is `difference` further; step 0 is a single one.
struct Lower {{
  uint32_t first, last, step;
  int32_t difference;
}};
/// The canonical decomposition without nonspacing marks (Mn); unused places are 0.
struct Stripped {{
  uint32_t from, to[3];
}};
""")
emit("kLetters", "Range", ranges(lambda c: c[0] == "L"))
emit("kNumbers", "Range", ranges(lambda c: c[0] == "N"))
emit("kPunctuation", "Range", ranges(lambda c: c[0] == "P"))
emit("kMarks", "Range", ranges(lambda c: c == "Mn"))
emit("kControls", "Range", ranges(lambda c: c in ("Cc", "Cf", "Co")))
emit("kLower", "Lower", [[a, b, s or 0, d] for a, b, s, d in lower])
print("inline constexpr Stripped kStripped[] = {\n" + textwrap.fill(", ".join(f"{{{a}, {{{b}, {c}, {d}}}}}" for a, b, c, d in stripped), 126, initial_indent="  ", subsequent_indent="  ") + "};")
print("\n}  // namespace gradus::data::unicode")
