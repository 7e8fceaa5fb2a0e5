#!/usr/bin/env bash
# launcher.sh ROOT: what ./gradus says to a mistake, and that it says it at once, without building anything.
set -euo pipefail
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

bad=0
# expect STATUS TEXT command...: the exit status, and a text among what the command prints
expect() {
  local status=$1 text=$2 output got=0
  shift 2
  output=$("$root/gradus" "$@" 2>&1) || got=$?
  if [[ $got != "$status" || $output != *"$text"* ]]; then
    echo "./gradus $*: expected status $status and '$text', got status $got and:"
    echo "$output"
    bad=1
  fi
}

expect 0 "usage: ./gradus COMMAND" help
expect 0 "usage: ./gradus COMMAND" --help
expect 0 "usage: ./gradus COMMAND"
expect 2 "unknown command 'trian'; commands: demo test example reproduce bench gpu debug site new help" trian
expect 2 "usage: ./gradus example SLUG" example
expect 2 "usage: ./gradus debug SLUG" debug
expect 2 "there is no example 'no-such-paper'" example no-such-paper --quick
expect 2 "there is no peer 'numpy'; there is: torch" bench --peer numpy
expect 2 "usage: ./gradus new DIR" new
expect 0 "mine is ready" new mine
expect 2 "is there already and not empty" new mine
[[ -s mine/main.cpp && -s mine/CMakeLists.txt && -s mine/README.md ]] || { echo "new: files are missing"; bad=1; }
if grep -r '@[A-Z]*@' mine; then echo "new: a name was not filled in"; bad=1; fi

# The installer reads its arguments before it installs anything.
said=$("$root/third_party/install.sh" --with no-such-thing 2>&1) && bad=1
[[ $said == *"--with 'no-such-thing' is not known; known: fashion-mnist, plots"* ]] || { echo "install.sh: $said"; bad=1; }
exit $bad
