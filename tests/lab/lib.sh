# What every lab test begins with: a lab, `penstock` in its node, and checks that end the test.
set -uo pipefail
PENSTOCK=$BUILD/penstock FLOOD=$BUILD/flood
. ../../lab/lab.sh

fail() { echo "failed at line ${BASH_LINENO[-2]}: $*" >&2; exit 1; }
need() { local tool; for tool; do command -v "$tool" > /dev/null || { echo "needs $tool"; exit 77; }; done; }
# check WHAT CMD...: CMD must succeed.   refuse WHAT CMD...: it must fail.
check() { local what=$1; shift; "$@" || fail "$what: $*"; }
refuse() { local what=$1; shift; if "$@"; then fail "$what: succeeded: $*"; fi; }
equal() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

# start_lab: the lab and its web server, removed at the end of the test.
start_lab() {
  [ -x "$PENSTOCK" ] || fail "$PENSTOCK is not built"
  lab_trap
  lab_up && lab_web || fail "the lab does not come up"
}

# start_peer: a veth sends by XDP only to a peer that has a program, too: the same penstock with nothing to say.
peer() { on internet "$PENSTOCK" --instance "$LAB-peer" "$@"; }
start_peer() {
  trap 'trap "" INT TERM HUP; peer off > /dev/null 2>&1; rm -rf "/var/lib/penstock/$LAB-peer" "/run/penstock/$LAB-peer"; lab_down' EXIT
  printf 'version: 1\ninterfaces: { node: { match: node } }\n' > "$LAB_DIR/peer.yaml"
  check "the peer's program" peer apply "$LAB_DIR/peer.yaml" > /dev/null
}

# apply NAME [OPTION...] < file: writes $LAB_DIR/NAME.yaml and applies it.
apply() { local file=$LAB_DIR/$1.yaml; shift; cat > "$file"; penstock apply "$file" "$@"; }

# dropped_by_wire: what the XDP program on wan dropped, counted by the driver and not by us.
dropped_by_wire() { on node ethtool -S wan | awk '/rx_queue_[0-9]+_xdp_drops/ { n += $2 } END { print n + 0 }'; }

# rule_packets POLICY/RULE: our own counter, to be compared with what was sent.
rule_packets() {
  penstock status --json | jq -r --arg rule "$1" '
    [.. | objects | select((.rule? == $rule or ((.policy? // "") + "/" + (.rule? // .name? // "")) == $rule) and (.packets? != null)) | .packets | tonumber] | first // "no counter"'
}
