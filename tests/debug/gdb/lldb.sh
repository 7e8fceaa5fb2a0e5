#!/usr/bin/env bash
# lldb.sh SCRIPT PROGRAM: the text that lldb_printers.py gives, at the two stops of target.cpp before and after the backward pass
set -euo pipefail
script=$1 program=$2
# Debian's lldb looks for its Python module in a folder that does not exist.
for dir in /usr/lib/llvm-*/lib/python3*/dist-packages; do
  if [[ -d $dir/lldb ]]; then export PYTHONPATH=$dir${PYTHONPATH:+:$PYTHONPATH}; fi
done
text=$(lldb --batch --no-lldbinit -o "command script import $script" -o "breakpoint set -n look" -o run -o "frame variable" \
  -o continue -o "frame variable w" "$program" 2>&1) || { echo "$text"; exit 1; }
bad=0
for want in 'x = .*float32 cpu \[2, 3\]: 1 2 3 4 5 6, min 1 mean 3.5 max 6' \
  'w = .*float32 cpu \[3, 2\] "fc1.weight": 0.5 -1 0.25 2 1 -0.125, min -1 mean 0.4375 max 2, requires_grad' \
  'y = .*float32 cpu \[2, 2\]: 0.12037 0.87963 0.11921 0.88079, .*made by SoftmaxNode at target.cpp:' \
  'loss = .*float32 cpu \[\]: 0.39456, requires_grad, made by AffineNode at target.cpp:' \
  'w = .*requires_grad, grad = {float32 cpu \[3, 2\]: 5.38'; do
  grep -Eq "${want//\{/\\\{}" <<<"$text" || { echo "missing: $want"; bad=1; }
done
((bad == 0)) || echo "$text"
exit $bad
