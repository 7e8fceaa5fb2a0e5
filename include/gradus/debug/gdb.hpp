// Tells gdb to load gdb.py, which stands beside this file: include it in one source file of a program that you debug.
//
// gdb loads what a program names only from folders that you trust; it prints the line to add to ~/.config/gdb/gdbinit once:
//
//   add-auto-load-safe-path /path/of/your/program
//
// Or load it by hand, `source .../include/gradus/debug/gdb.py`. Nothing is added to the program but a section that is not loaded.
#pragma once

#if defined(__ELF__)
asm(".pushsection \".debug_gdb_scripts\", \"MS\",%progbits,1\n"
    ".byte 4\n"  // a Python script as text: its name, then the script
    ".ascii \"gdb.inlined-gradus\\n\"\n"
    ".ascii \"import os\\n\"\n"
    ".ascii \"import gdb\\n\"\n"
    ".ascii \"gdb.execute('source ' + os.path.join(os.path.dirname('" __FILE__ "'), 'gdb.py'))\\n\"\n"
    ".byte 0\n"
    ".popsection\n");
#endif
