#!/usr/bin/env bash
# Three tiers of one kind in a row, each killed at random, and what the last one has
# compared with what the first had answered: runnel's relay, rsyslog over RELP, and Fluent Bit over its forward
# protocol. It needs rsyslog with RELP as internal/testkit/install leaves it, and fluent-bit in PATH; what is
# not there is left out with a word; python3 prints. It talks to loopback only.
#
#	internal/testkit/peers/chain/chain.sh [NAME…]
#
# KILLS, RATE, SEED and SENDERS change what the names say.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
here=$PWD/internal/testkit/peers/chain
kills=${KILLS:-30} rate=${RATE:-5000} seed=${SEED:-1} senders=${SENDERS:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/oracle" ./cmd/oracle
go build -o "$work/runnel" ./cmd/runnel

# tier N CONFIG: writes the configuration of tier N, which takes at port 17200+N and delivers to the next.
tier() {
  local dir=$work/run/$1
  mkdir -p "$dir"
  sed "s|@DIR@|$dir|g; s|@IN@|$((17200 + $1))|g; s|@OUT@|$((17201 + $1))|g; s|@API@|$((17210 + $1))|g; s|@CHECKPOINT@|$2|g; s|@SYNC@|$3|g" "$here/$4" >"$dir/conf"
}

# trial NAME ARGUMENTS-OF-THE-ORACLE
trial() {
  local name=$1
  shift
  "$work/oracle" kill --json --kills "$kills" --rate "$rate" --seed "$seed" --senders "$senders" --within "${WITHIN:-5m}" \
    --log "$work/run/log" "$@" >"$work/verdict" 2>"$work/said" || [ -s "$work/verdict" ] || { echo "$name: $(tail -qn 3 "$work/said" "$work/run/log" | tr '\n' ' ')"; return; }
  python3 - "$name" "$work/verdict" <<'P'
import json, sys
v = json.load(open(sys.argv[2]))
print("| %s | %d | %d | %d | %d + %d | %d | %d | %s | %s | %.0f / %.0f ms |" % (sys.argv[1], v["kills"], v["acknowledged"], v["lost"], v["repeated"], v["duplicated"],
      v["disordered"], v["altered"], "yes" if v["drained"] else "no", "yes" if v["settled"] else "no", v["restart_median"] / 1e6, v["restart_max"] / 1e6))
P
}

rsyslog() { # its queues' files not synced, or synced with every message
  local checkpoint=1000 sync=off
  [ "$1" = disk ] || checkpoint=1 sync=on
  for n in 1 2 3; do tier $n $checkpoint $sync rsyslog.conf; done
  trial "rsyslog over RELP, queues $1" --to relp://127.0.0.1:17201 --listen relp://127.0.0.1:17204 --behind "relp://127.0.0.1:17202 rsyslogd -n -f $work/run/2/conf -i $work/run/2/pid" \
    --behind "relp://127.0.0.1:17203 rsyslogd -n -f $work/run/3/conf -i $work/run/3/pid" -- rsyslogd -n -f "$work/run/1/conf" -i "$work/run/1/pid"
}
fluentbit() {
  command -v fluent-bit >/dev/null || { echo "fluent-bit is not here" >&2; return; }
  tier 1 0 off fluent-bit-first.conf
  tier 2 0 off fluent-bit-middle.conf
  tier 3 0 off fluent-bit-last.conf
  trial "Fluent Bit over forward" --to http://127.0.0.1:17201/ --media json --listen http://127.0.0.1:17204 --behind "tcp://127.0.0.1:17202 fluent-bit -c $work/run/2/conf" \
    --behind "tcp://127.0.0.1:17203 fluent-bit -c $work/run/3/conf" -- fluent-bit -c "$work/run/1/conf"
}
runnel() {
  tier 1 0 off host.yaml
  tier 2 0 off cluster.yaml
  tier 3 0 off central.yaml
  trial "runnel over its relay" --to relp://127.0.0.1:17201 --settle "${SETTLE:-20s}" --collect "'$work/runnel' store export '$work/run/3/data' --stream app" --behind "tcp://127.0.0.1:17202 '$work/runnel' run -c '$work/run/2/conf'" \
    --behind "tcp://127.0.0.1:17203 '$work/runnel' run -c '$work/run/3/conf'" -- "$work/runnel" run -c "$work/run/1/conf"
}

[ $# -gt 0 ] || set -- runnel-relay rsyslog-disk rsyslog-synced fluentbit-forward
echo "| | kills | acknowledged | lost | repeated + duplicated | out of order | altered | all acknowledged in the end | all arrived | restart, median / longest |"
echo "|---|---|---|---|---|---|---|---|---|---|"
for name in "$@"; do
  rm -rf "$work/run"
  mkdir "$work/run"
  "${name%%-*}" "${name#*-}"
done
