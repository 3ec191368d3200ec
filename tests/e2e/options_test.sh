#!/usr/bin/env bash
# Help, usage errors, and where options come from.
source "$(dirname "$0")/lib.sh" "$@"

run 0 --version
says out '^gritstone [0-9]+\.[0-9]+\.[0-9]+'
run 0 --help
for command in index search ask embed generate perplexity tokenize doctor bench "collection list" "collection show" "collection remove" \
    "collection verify" "model show" "model forward" "model synth" "model quantize" "eval retrieval" "cache show" "cache warm" "cache prune" "cache verify"; do
  # shellcheck disable=SC2086
  run 0 $command --help
  says out 'Examples:'
  says out '--json'
done

# Usage errors are status 1, and say what is wrong on standard error alone.
run 1
run 1 nonsense
run 1 search
run 1 tokenize x --no-such-option
says err 'no-such-option'
[[ ! -s out ]] || die "a usage error wrote to standard output"
run 1 tokenize x
says err 'no model named'
run 1 tokenize x -m does-not-exist.gguf
says err 'does-not-exist.gguf'
run 1 generate -p x -m does-not-exist.gguf --device cuda
run 1 tokenize x --threads many -m m

# Command line, then environment, then config file, then default.
store() { run 0 doctor --json "$@"; value 'd["store"]["path"]'; }
[[ $(store) == "$HOME/.local/share/gritstone" ]] || die "default store"
[[ $(XDG_DATA_HOME=$work/data store) == "$work/data/gritstone" ]] || die "XDG_DATA_HOME"
mkdir -p "$HOME/.config/gritstone"
cat >"$HOME/.config/gritstone/config.toml" <<TOML
store = "$work/from-file"
threads = 3
[ask]
temp = 0.5
[model.synth]
type = "f16"
TOML
[[ $(store) == "$work/from-file" ]] || die "config file"
[[ $(GRITSTONE_STORE=$work/from-env store) == "$work/from-env" ]] || die "environment before file"
[[ $(GRITSTONE_STORE=$work/from-env store --store "$work/from-line") == "$work/from-line" ]] || die "command line before environment"
echo "store = \"$work/other\"" >other.toml
[[ $(store --config other.toml) == "$work/other" ]] || die "--config"
[[ $(GRITSTONE_CONFIG=other.toml store) == "$work/other" ]] || die "GRITSTONE_CONFIG"

# A command's own table is used: the synthetic model comes out as f16.
run 0 model synth --like tiny -o tiny.gguf
run 0 model show tiny.gguf --json
check 'max(d["types"], key=lambda t: d["types"][t]) == "f16"'

# Mistakes in the file are errors, not silence.
printf 'stor = "x"\n' >bad.toml
run 1 doctor --config bad.toml
says err 'unknown key "stor"'
printf '[ask]\nstore = "x"\n' >bad.toml
run 1 doctor --config bad.toml
says err 'unknown key "ask.store"'
printf '[nonsense]\nx = 1\n' >bad.toml
run 1 doctor --config bad.toml
printf 'store = \n' >bad.toml
run 1 doctor --config bad.toml
says err 'bad.toml:1'
printf 'threads = "many"\n' >bad.toml
run 1 doctor --config bad.toml
run 1 doctor --config missing.toml
GRITSTONE_THREADS=many run 1 doctor
says err 'GRITSTONE_THREADS'

# Output that cannot be written is an I/O error; a closed pipe is not.
run 0 doctor
status=0
"$gritstone" doctor >/dev/full 2>err || status=$?
[[ $status -eq 5 ]] || die "a full disk behind standard output gave $status"
"$gritstone" model show tiny.gguf --tensors 2>err | head -n 1 >/dev/null
[[ ! -s err ]] || die "a closed pipe complained: $(cat err)"
done_all
