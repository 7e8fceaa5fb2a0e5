#!/usr/bin/env bash
# reproduce.sh PROGRAM: the table of several papers, on programs that stand for them.
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir bin

# stand_in NAME BODY: a program that gets the arguments of an example; $out is its --out, $setting its setting
stand_in() {
  cat >"bin/example_$1" <<END
#!/usr/bin/env bash
out= setting=default; echo "\$@" >>calls
while ((\$#)); do case \$1 in --out) out=\$2; shift ;; --quick) setting=quick ;; esac; shift; done
figures() { printf '{"paper": "$1", "setting": "%s", "seeds": [0], "metrics": {}, "checks": [%s], "seconds": 90, "peak_rss_mb": 64}' "\$setting" "\$1" >"\$out/metrics.json"; }
$2
END
  chmod +x "bin/example_$1"
}
holds='{\"name\": \"a\", \"value\": 1, \"op\": \"<=\", \"bound\": 2, \"ok\": true}'
fails='{\"name\": \"the law\", \"value\": 3, \"op\": \"<=\", \"bound\": 2.5, \"ok\": false}'
stand_in first_paper "figures \"$holds, $holds\"; echo page >\$out/report.html"
stand_in second_paper "figures \"$holds, $fails\"; exit 1"
stand_in third_paper "echo out of luck; exit 3"

bad=0
# expect STATUS TEXT... -- arguments: the exit status, and texts among what the program prints
expect() {
  local status=$1 texts=() output got=0 text
  shift
  while [[ $1 != -- ]]; do texts+=("$1"); shift; done
  shift
  output=$("$program" --bin bin --threads 1 "$@" 2>&1) || got=$?
  for text in "${texts[@]}"; do
    if [[ $got != "$status" || $output != *"$text"* ]]; then
      echo "reproduce $*: expected status $status and '$text', got status $got and:"
      echo "$output"
      bad=1
    fi
  done
}
calls() { if [[ $(wc -l <calls) != "$1" ]]; then echo "expected $1 programs to have run, not: $(cat calls)"; bad=1; fi; }

expect 0 "2 of 2 hold" "1.5" -- first-paper --quick
calls 1
grep -q -- "--quick" calls || { echo "--quick was not handed on: $(cat calls)"; bad=1; }
grep -q 'href="first-paper/report.html"' out/reproduce/report.html || { echo "the page has no link"; bad=1; }
expect 1 "1 of 2 hold" "the law" "2.5" "of an earlier run" "out of luck" "no figures, exit code 3" -- --all --quick
calls 3                 # the first one is not run again, the others are
grep -q "1 of 3" out/reproduce/report.html || { echo "the page does not say 1 of 3"; bad=1; }
expect 0 "2 of 2 hold" -- first-paper             # another setting
calls 4
expect 0 "2 of 2 hold" -- first-paper --again
calls 5
expect 1 "there is no such example" "first-paper, second-paper, third-paper" -- no-paper --quick
expect 1 "nothing to run" -- --quick

# An interrupted run keeps what is done and goes on from there.
stand_in second_paper "touch started; trap 'exit 130' TERM; sleep 30 & wait"
rm -rf out
"$program" --bin bin first-paper second-paper --quick >interrupted.txt 2>&1 &
job=$!
for ((i = 0; i < 100; i++)); do [[ -e started ]] && break; sleep 0.1; done
kill -TERM $job
got=0
wait $job || got=$?
[[ $got == 130 && $(cat interrupted.txt) == *"2 of 2 hold"* ]] || { echo "interrupted: status $got"; cat interrupted.txt; bad=1; }
exit $bad
