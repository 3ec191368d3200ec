# `gritstone serve` as a user starts it: refusals, loading, answers beside the command line, draining, logs.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

run 0 model synth --like tiny --type f16 -o tiny.gguf
mkdir docs
printf '# Ferry\n\nThe last ferry leaves at seven. In winter it leaves at five.\n' >docs/ferry.md
run 0 index docs -c notes -m tiny.gguf --store store -q

# Refused at the start, with a reason.
run 1 serve -m tiny.gguf --store store --host 0.0.0.0 --port 0
says err 'needs a key'
run 1 serve -m tiny.gguf --store store --port 0 --tls-cert docs/ferry.md
says err 'belong together'
run 1 serve -m none.gguf --store store --port 0
says err 'none.gguf does not exist'
run 1 serve --store store --port 0
says err 'no model named'
echo 'too open a key file' >keys
chmod 644 keys
run 1 serve -m tiny.gguf --store store --port 0 --api-key-file keys
says err 'others can read'
head -c 2000 /dev/zero >broken.gguf
run 6 serve -m broken.gguf --store store --port 0

server=
trap '[[ -z "$server" ]] || kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT

# serve OPTION...: starts a server; $url once it is ready.
serve() {
  "$gritstone" serve -m tiny.gguf --store store --port 0 "$@" >serve.out 2>serve.err </dev/null &
  server=$!
  local i
  for ((i = 0; i < 600; i++)); do
    if grep -qs 'Ready: ' serve.err; then
      url=$(sed -nE 's/.*Listening on (https?:\/\/127\.0\.0\.1:[0-9]+).*/\1/p' serve.err)
      return
    fi
    kill -0 "$server" 2>/dev/null || { cat serve.err; die "the server ended"; }
    sleep 0.1
  done
  die "the server did not become ready"
}
# stop STATUS: SIGTERM, and the exit status.
stop() {
  local status=0
  kill -TERM "$server"
  wait "$server" || status=$?
  server=
  checks=$((checks + 1))
  [[ $status -eq $1 ]] || { cat serve.err; die "the server ended with $status, expected $1"; }
}
# fetch STATUS PATH [BODY [HEADER]]: into ./out.
fetch() {
  checks=$((checks + 1))
  python3 - "$1" "$url$2" "${3:-}" "${4:-}" >out <<'PYTHON' || die "$2"
import ssl, sys, urllib.error, urllib.request
wanted, url, body, header = sys.argv[1:]
headers = {"Content-Type": "application/json"} if body else {}
if header:
    name, value = header.split(": ", 1)
    headers[name] = value
request = urllib.request.Request(url, body.encode() or None, headers)
insecure = ssl.create_default_context()
insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
try:
    answer = urllib.request.urlopen(request, timeout=60, context=insecure)
except urllib.error.HTTPError as error:
    answer = error
print(answer.read().decode())
if answer.status != int(wanted):
    print("status", answer.status, file=sys.stderr)
    sys.exit(1)
PYTHON
}

serve
fetch 200 /health
check 'd == {"status": "ok"}'
fetch 200 /v1/models
check '[m["id"] for m in d["data"]] == ["tiny", "gritstone/notes"]'
question='{"collection":"notes","question":"When does the last ferry leave?","mode":"bm25","max_tokens":8}'
fetch 200 /v1/answer "$question"
check 'd["object"] == "answer" and d["passages"][0]["path"].endswith("ferry.md") and d["passages"][0]["file_id"].startswith("file-")'
cp out first

# What the command line indexes meanwhile is seen by the next request.
printf '# Bus\n\nThe last bus leaves at nine.\n' >docs/bus.md
run 0 index docs -c notes -m tiny.gguf --store store --json -q
fetch 200 /v1/answer '{"collection":"notes","question":"When does the last bus leave?","mode":"bm25","max_tokens":8}'
check 'any(p["path"].endswith("bus.md") for p in d["passages"])'
check 'd["generation"] > json.load(open("first"))["generation"]'

fetch 200 /v1/embeddings '{"input":"ferry"}'
check 'abs(sum(x * x for x in d["data"][0]["embedding"]) - 1) < 1e-3'
fetch 404 /v1/nothing
check 'd["error"]["type"] == "not_found_error"'
fetch 403 /v1/models "" "Origin: http://evil.example"
fetch 200 /metrics
says out '^gritstone_answers_total 2$'
stop 0
says serve.err 'Stopped'

# With a key, over TLS, logged as JSON.
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null
printf '# for tests\nserve-test-key-1\n' >keys
chmod 600 keys
serve --api-key-file keys --log-json --tls-cert cert.pem --tls-key key.pem
[[ $url == https://* ]] || die "$url is not https"
fetch 401 /v1/models
fetch 401 /v1/models "" "Authorization: Bearer wrong-key-1"
fetch 200 /v1/models "" "Authorization: Bearer serve-test-key-1"
fetch 200 /v1/answer "$question" "Authorization: Bearer serve-test-key-1"
stop 0
checks=$((checks + 1))
python3 -c '
import json
lines = [json.loads(line) for line in open("serve.err") if line.startswith("{")]
requests = [line for line in lines if line["event"] == "request"]
assert [r["status"] for r in requests if r["path"] == "/v1/models"] == [401, 401, 200], requests
assert not any("serve-test-key" in json.dumps(line) or "ferry leave" in json.dumps(line) for line in lines)' || die "the log"

# Two servers cannot have one port; the second says so.
serve
port=${url##*:}
run 1 serve -m tiny.gguf --store store --port "$port"
says err "cannot listen on 127.0.0.1 port $port"
stop 0

done_all
