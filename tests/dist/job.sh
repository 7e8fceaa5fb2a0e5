#!/usr/bin/env bash
# job.sh MPIRUN PROGRAM: a rank that fails, dies or stops ends the job with a message that names it; the job then goes on from
# its checkpoint, also with another number of ranks, to the result of a job that nothing happened to.
set -uo pipefail
mpirun=$1 program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
bad=0

# job RANKS MODE FILE STEPS: output in $said, status in $got
job() {
  local ranks=$1
  shift
  got=0
  said=$(timeout 100 "$mpirun" -np "$ranks" "$program" "$@" 2>&1) || got=$?
}
# told WHAT TEXT...: the job has failed and said so
told() {
  local what=$1 text
  shift
  [[ $got != 0 ]] || { echo "$what: the job ended well"; bad=1; }
  for text; do
    [[ $said == *"$text"* ]] || { printf '%s: expected "%s" in:\n%s\n' "$what" "$text" "$said"; bad=1; }
  done
}
result() { sed -n 's/^result //p' <<<"$said"; }
# close A B: equal but for the rounding of sums
close() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && b != "" && a - b < 1e-6 && b - a < 1e-6) }'; }

job 2 train whole 10
expected=$(result)
[[ -n $expected && $got == 0 ]] || { printf 'the job does not run:\n%s\n' "$said"; exit 1; }
job 2 train whole_again 10
[[ $(result) == "$expected" ]] || { echo "two runs differ: $expected, $(result)"; bad=1; }
job 3 train three 10
close "$(result)" "$expected" || { echo "three ranks: $(result), two: $expected"; bad=1; }
job 1 train one 10
close "$(result)" "$expected" || { echo "one rank: $(result), two: $expected"; bad=1; }

job 2 throw thrown 10
told "an error of rank 1" "rank 1 of 2 (process" "has failed" "matmul" "[2, 3]" "job.cpp:"
job 2 train thrown 10
[[ $said == *"goes on at step 4"* && $(result) == "$expected" ]] || { printf 'after an error:\n%s\n' "$said"; bad=1; }

job 3 die dead 10
told "a killed rank" "rank 1" "signal 9"
job 2 train dead 10
[[ $said == *"goes on at step 4"* ]] && close "$(result)" "$expected" || { printf 'after a death, with two ranks instead of three:\n%s\n' "$said"; bad=1; }

GRADUS_DIST_TIMEOUT=2 job 2 hang hung 10
told "a rank that stops" "rank 0 of 2 has waited 2 s in the gradients of bucket 0 at" "the same call on every rank"
job 4 train hung 10
[[ $said == *"goes on at step 4"* ]] && close "$(result)" "$expected" || { printf 'after a stop, with four ranks:\n%s\n' "$said"; bad=1; }
[[ -z $(ls -A | grep tmp) ]] || { echo "left behind: $(ls)"; bad=1; }
exit $bad
