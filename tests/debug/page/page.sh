#!/usr/bin/env bash
# page.sh BROWSER FOLDER PAGE STEPS NODES: the page walks all its steps in a headless browser without an error; it has at least
# that many steps and nodes. A screenshot for people is left beside it.
set -euo pipefail
browser=$1 folder=$2 page=$3 steps=$4 nodes=$5
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
options=(--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars "--user-data-dir=$profile" --window-size=1500,950)
dom=$("$browser" "${options[@]}" --enable-logging=stderr --virtual-time-budget=60000 --dump-dom "file://$folder/$page.html#selftest" 2>"$folder/$page.log")
if grep -E 'CONSOLE.*(Error|Uncaught)' "$folder/$page.log"; then exit 1; fi
outcome=$(grep -o 'data-selftest="[^"]*"' <<<"$dom" || true)
echo "$page: ${outcome:-the test did not run}"
[[ $outcome =~ ^data-selftest=\"ok\ steps=([0-9]+)\ forward=([0-9]+)\ nodes=([0-9]+)\ folded=([0-9]+)\ unfolded=([0-9]+) ]] || exit 1
((BASH_REMATCH[1] >= steps && BASH_REMATCH[3] >= nodes && BASH_REMATCH[4] < BASH_REMATCH[5])) || { echo "too few"; exit 1; }
"$browser" "${options[@]}" --virtual-time-budget=3000 "--screenshot=$folder/$page.png" "file://$folder/$page.html#step=$((steps / 2))" 2>>"$folder/$page.log"
test -s "$folder/$page.png"
