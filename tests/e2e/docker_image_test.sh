#!/usr/bin/env bash
# The image that apps/Dockerfile makes has every library that the executable loads: found without a Docker engine, from the packages that
# the last stage installs and what they depend on.
source "$(dirname "$0")/lib.sh" "$@"

if ! command -v dpkg-query >/dev/null; then
  echo "skipped: needs dpkg, to know which package holds a library"
  exit 0
fi

mapfile -t named < <(sed -n '/^FROM debian:bookworm-slim$/,$p' "$source_tree/apps/Dockerfile" |
  sed -n '/apt-get install/,/&&/p' | grep -oE '\blib[a-z0-9+.-]+' | sort -u)
[[ ${#named[@]} -ge 5 ]] || die "the packages of the last stage were not found: ${named[*]}"

# What comes along: the closure of Depends, of the first alternative.
declare -A present=([libc6]=1 [libgcc-s1]=1 [libstdc++6]=1)
add() {
  [[ -n ${present[$1]:-} ]] && return
  present[$1]=1
  local package
  while read -r package; do add "$package"; done < <(
    dpkg-query -W -f '${Depends}, ${Pre-Depends}' "$1" 2>/dev/null | tr ',' '\n' | sed 's/|.*//; s/[(:].*//; s/ //g' | grep . || true)
}
for package in "${named[@]}"; do add "$package"; done

libraries=0
while read -r path; do
  # Debian 12 has /lib as a link to /usr/lib, and its package lists know only one of both names.
  package=$(dpkg-query -S "$path" "/usr$path" "${path#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1 || true)
  [[ -n $package ]] || continue  # a toolkit outside Debian's packages
  libraries=$((libraries + 1))
  checks=$((checks + 1))
  [[ -n ${present[$package]:-} ]] || die "apps/Dockerfile's last stage lacks $package, which has $path"
done < <(ldd "$gritstone" | awk '$3 ~ /^\// {print $3}')
[[ $libraries -ge 5 ]] || die "only $libraries libraries were found"
done_all
