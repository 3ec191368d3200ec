#!/bin/sh
# Makes the Python environment of the reference implementations (transformers, llama.cpp) outside the source tree.
# About 3 minutes and 5.6 GB for torch and transformers, about 16 minutes on two cores for the native build of llama.cpp.
# Usage: tests/reference/make_venv.sh   (GRITSTONE_REFERENCE_VENV overrides the place; a complete environment is left alone)
set -eu
venv=${GRITSTONE_REFERENCE_VENV:-$HOME/.cache/gritstone/reference-venv}
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import gguf, llama_cpp, numpy, safetensors, tokenizers, torch, transformers' 2>/dev/null; then
  echo "complete: $venv"
  exit 0
fi
for tool in python3 cmake g++; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (Debian: python3-venv, cmake, g++)" >&2; exit 1; }
done
mkdir -p "$(dirname "$venv")"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
"$venv/bin/pip" install --quiet numpy gguf tokenizers safetensors torch==2.15.0 transformers==5.23.0
# Built here, so that llama.cpp uses every instruction set of this machine: a wheel for a generic x86-64 would lose by default.
CMAKE_ARGS="-DGGML_NATIVE=ON" "$venv/bin/pip" install --quiet --no-binary llama-cpp-python llama-cpp-python==0.3.36
"$venv/bin/python" -c 'import gguf, llama_cpp, numpy, safetensors, tokenizers, torch, transformers'
echo "made: $venv"
