#!/usr/bin/env bash
# Runs the example until Ctrl-C: four exporters, two shards (Prometheus and sidecar each), one coordinator.
# run.sh --check ends by itself once every target is up on one shard, and fails if that takes a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

kvass=${KVASS:-$root/target/release/kvass}
[ -x "$kvass" ] || { echo "no $kvass: run make build, or set KVASS" >&2; exit 1; }
prometheus=$("$root/scripts/prometheus.sh" | tail -1)
data=${DATA:-$root/target/static-example}
mkdir -p "$data"

pids=()
stop() {
  trap - EXIT INT TERM
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 130' INT TERM

start() { # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$data/$name.log" 2>&1 &
  pids+=($!)
}

for port in 19101 19102 19103 19104; do
  start "generator-$port" "$kvass" metrics-generator --address=127.0.0.1:$port --series=5000
done

for shard in 0 1; do
  dir=$data/shard-$shard
  mkdir -p "$dir"
  rm -f "$dir/prometheus.yml"
  start "sidecar-$shard" "$kvass" sidecar \
    --web.api-addr=127.0.0.1:1808$shard --web.proxy-addr=127.0.0.1:1800$shard \
    --prometheus.url=http://127.0.0.1:1909$((shard + 1)) \
    --config.file="$here/prometheus.yml" --config.output-file="$dir/prometheus.yml" --store.path="$dir" \
    --inject.proxy=http://127.0.0.1:1800$shard --inject.external-label=shard=shard-$shard
  # Prometheus ends without a configuration, and the sidecar writes it.
  for _ in $(seq 100); do [ -s "$dir/prometheus.yml" ] && break || sleep 0.1; done
  start "prometheus-$shard" "$prometheus" \
    --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
    --web.listen-address=127.0.0.1:1909$((shard + 1)) --web.enable-lifecycle
done

start coordinator "$kvass" coordinator \
  --shard.type=static --shard.static-file="$here/static-shards.yaml" --config.file="$here/prometheus.yml" \
  --web.address=127.0.0.1:19090 --shard.max-series=12000 --coordinator.interval=2s

cat <<TEXT
coordinator  http://127.0.0.1:19090/api/v1/targets
shard-0      http://127.0.0.1:18080 (sidecar and Prometheus)
shard-1      http://127.0.0.1:18081
logs         $data
TEXT

if [ "${1:-}" = --check ]; then
  for _ in $(seq 60); do
    sleep 1
    counts=
    for port in 18080 18081; do
      answer=$(curl -sf --get "http://127.0.0.1:$port/api/v1/query" --data-urlencode 'query=count(up == 1)' || true)
      counts+="$(sed -n 's/.*,"\([0-9]*\)"\].*/\1/p' <<<"$answer") "
    done
    [ "$counts" != "2 2 " ] || { echo "each shard has two targets, all of them up"; exit 0; }
  done
  echo "targets that are up per shard after a minute: $counts" >&2
  exit 1
fi

echo "Ctrl-C ends everything"
wait -n || true
echo "a process has ended: see the logs in $data" >&2
exit 1
