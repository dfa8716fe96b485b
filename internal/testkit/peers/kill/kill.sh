#!/usr/bin/env bash
# Runs the same kills on runnel and on its peers, each as it is usually set up and as
# safely as its manual knows to, and prints a table. It needs rsyslog with RELP and
# syslog-ng as internal/testkit/install leaves them, and fluent-bit in PATH; what
# is not there is left out with a word; python3 prints. It talks to loopback only.
#
#	internal/testkit/peers/kill/kill.sh [NAME…]
#
# KILLS, RATE, SEED and SENDERS change what the names say.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
here=$PWD/internal/testkit/peers/kill
kills=${KILLS:-20} rate=${RATE:-20000} seed=${SEED:-1} senders=${SENDERS:-4}
in=17101 out=17102 http=17103 tcp=17104
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/oracle" ./cmd/oracle
go build -o "$work/runnel" ./cmd/runnel
ng=$PWD/.cache/syslog-ng

# trial NAME CONFIG LISTEN ARGUMENTS-OF-THE-ORACLE -- COMMAND, with DIR and CONF for the folder and the configuration
trial() {
  local name=$1 config=$2 listen=$3 dir=$work/run arguments=()
  shift 3
  rm -rf "$dir" && mkdir "$dir"
  sed "s|@DIR@|$dir|g; s|@IN@|$in|g; s|@OUT@|$out|g; s|@HTTP@|$http|g; s|@TCP@|$tcp|g" "$here/$config" >"$dir/conf"
  for a in "$@"; do a=${a//DIR/$dir} arguments+=("${a//CONF/$dir/conf}"); done
  "$work/oracle" kill --json --listen "$listen://127.0.0.1:$out" --kills "$kills" --rate "$rate" --seed "$seed" --senders "$senders" \
    --within "${WITHIN:-60s}" --log "$dir/log" "${arguments[@]}" >"$work/verdict" 2>"$work/said" || [ -s "$work/verdict" ] || { echo "$name: $(tail -qn 3 "$work/said" "$dir/log" | tr '\n' ' ')"; return; }
  python3 - "$name" "$work/verdict" <<'P'
import json, sys
v = json.load(open(sys.argv[2]))
print("| %s | %d | %d | %d | %d + %d | %d | %d | %s | %s | %.0f / %.0f ms |" % (sys.argv[1], v["kills"], v["acknowledged"], v["lost"], v["repeated"], v["duplicated"],
      v["disordered"], v["altered"], "yes" if v["drained"] else "no", "yes" if v["settled"] else "no", v["restart_median"] / 1e6, v["restart_max"] / 1e6))
P
}

rsyslog() { trial "rsyslog $1" "rsyslog-$1.conf" tcp --to relp://127.0.0.1:$in -- rsyslogd -n -f CONF -i DIR/pid; }
syslogng() {
  LD_LIBRARY_PATH=$ng/usr/lib/syslog-ng trial "syslog-ng $1" "syslog-ng-$1.conf" tcp --to tcp://127.0.0.1:$in --octets -- "$ng/usr/sbin/syslog-ng" -F --no-caps -f CONF \
    -p DIR/pid -c DIR/ctl -R DIR/persist --module-path "$(echo "$ng"/usr/lib/syslog-ng/*/)"
}
fluentbit() {
  command -v fluent-bit >/dev/null || { echo "fluent-bit is not here" >&2; return; }
  trial "Fluent Bit $1" "fluent-bit-$1.conf" http --to http://127.0.0.1:$in/ --media json -- fluent-bit -c CONF
}
runnel() {
  case $1 in
  relp) set -- relp --to relp://127.0.0.1:$in ;;
  http) set -- http --to http://127.0.0.1:$http/ ;;
  keys) set -- "http with keys" --to http://127.0.0.1:$http/ --keys ;;
  tcp) set -- tcp --to tcp://127.0.0.1:$tcp ;;
  esac
  local name=$1
  shift
  trial "runnel $name" runnel.yaml relp "$@" -- "$work/runnel" run -c CONF
}

[ $# -gt 0 ] || set -- runnel-relp runnel-http runnel-keys runnel-tcp rsyslog-da rsyslog-disk rsyslog-sync syslogng-normal syslogng-reliable \
  fluentbit-memory fluentbit-filesystem fluentbit-full fluentbit-checksum
echo "| | kills | acknowledged | lost | repeated + duplicated | out of order | altered | all acknowledged in the end | all arrived | restart, median / longest |"
echo "|---|---|---|---|---|---|---|---|---|---|"
for name in "$@"; do "${name%%-*}" "${name#*-}"; done
