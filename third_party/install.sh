#!/usr/bin/env bash
# Installs what building gradus needs and this machine lacks; says nothing when nothing is missing.
#
#   third_party/install.sh                   compiler, CMake and the libraries of README.md beside this file
#   third_party/install.sh --with NAME ...   besides: fashion-mnist  60,000 + 10,000 clothing pictures
#                                                     plots          gnuplot
#                                                     gdb            for ./gradus debug
#                                                     doxygen        for ./gradus site
#                                                     torch          PyTorch in ~/.cache/gradus/venv, the peer of the benchmarks
#                                                     smollm2        SmolLM2-135M-Instruct, a language model, 98 MB
#                                                     minilm         MiniLM-L6, sentence embeddings, 91 MB
#                                                     wordnet        WordNet 3.0, the dictionary of a paper example, 28 MB
#
# Debian and Ubuntu: through apt-get, with sudo when not root. Elsewhere it says what to install.
set -euo pipefail

libraries=(libeigen3-dev catch2 libbenchmark-dev libboost-context-dev libcli11-dev nlohmann-json3-dev zlib1g-dev libstb-dev)
known="fashion-mnist, plots, gdb, torch, smollm2, minilm, wordnet"
