# The lab: five network namespaces with real links, for the demo, the lab tests and the bench.  Source it from bash.
#
#   client   192.0.2.10   ─┐
#   attacker 192.0.2.66   ─┤ internet ── wan [ node ] lan ── server 198.51.100.10
#   (flood)               ─┘ 192.0.2.254    192.0.2.1         198.51.100.1
#
# IPv6 in the same places: 2001:db8:1::10, ::66, ::fe, ::1 and 2001:db8:2::10, ::1.  `internet` is a bridge and the
# route to everywhere else; the flood leaves by its port towards the node, the wire that all packets come by.
#
#   lab_up; lab_trap              all of it is gone when the script ends, however it ends
#   on client curl ...            run in a namespace (nsenter: `ip netns exec` would hide /sys/fs/bpf)
#   lab_start NAME ROLE CMD...    in the background, output in $LAB_DIR/NAME.log;  lab_stop NAME
#   lab_wait SECONDS CMD...       until CMD succeeds

LAB_ROLES=(client attacker internet node server)
LAB_RUN=/run/penstock-lab

on() { local role=$1; shift; nsenter --net="/run/netns/$LAB-$role" -- "$@"; }

# penstock acts on the namespace it is started in; each lab is an instance of its own.
penstock() { on node "$PENSTOCK" --instance "$LAB" "$@"; }

# lab_up [NAME]: sets LAB (the prefix of all names) and LAB_DIR (files that go with the lab).
lab_up() {
  LAB=ps-${1:-$$}
  LAB_DIR=$LAB_RUN/$LAB
  [ "$(id -u)" = 0 ] || { echo "lab: namespaces need root" >&2; return 1; }
  # The directory comes first: from here on lab_down knows that there is something to remove.
  mkdir -p "$LAB_RUN" && mkdir "$LAB_DIR" && echo "${PENSTOCK:-}" > "$LAB_DIR/penstock" && echo "$$ $(lab_birth $$)" > "$LAB_DIR/owner" || return 1
  local role
  for role in "${LAB_ROLES[@]}"; do
    ip netns add "$LAB-$role" || return 1
    on "$role" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 net.ipv4.conf.default.rp_filter=0 || return 1
    ip -n "$LAB-$role" link set lo up
  done
  ip -n "$LAB-internet" link add br0 type bridge mcast_snooping 0 && ip -n "$LAB-internet" link set br0 up || return 1
  lab_link client eth0 internet client && lab_link attacker eth0 internet attacker &&
    lab_link node wan internet node && lab_link server eth0 node lan || return 1
  for role in client attacker node; do ip -n "$LAB-internet" link set "$role" master br0 || return 1; done
  lab_address client eth0 192.0.2.10/24 2001:db8:1::10/64 && lab_address attacker eth0 192.0.2.66/24 2001:db8:1::66/64 &&
    lab_address internet br0 192.0.2.254/24 2001:db8:1::fe/64 && lab_address node wan 192.0.2.1/24 2001:db8:1::1/64 &&
    lab_address node lan 198.51.100.1/24 2001:db8:2::1/64 && lab_address server eth0 198.51.100.10/24 2001:db8:2::10/64 || return 1
  for role in client attacker internet; do
    ip -n "$LAB-$role" route add 198.51.100.0/24 via 192.0.2.1 && ip -n "$LAB-$role" route add 2001:db8:2::/64 via 2001:db8:1::1 || return 1
  done
  ip -n "$LAB-node" route add default via 192.0.2.254 && ip -n "$LAB-node" route add default via 2001:db8:1::fe &&
    ip -n "$LAB-server" route add default via 198.51.100.1 && ip -n "$LAB-server" route add default via 2001:db8:2::1 || return 1
  # Everywhere else swallows what is sent there.
  ip -n "$LAB-internet" route add blackhole default && ip -n "$LAB-internet" -6 route add blackhole default || return 1
  for role in internet node; do on "$role" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 || return 1; done
  # Frames that XDP sends to a veth are taken in only if the other end has NAPI, which GRO or an XDP program gives it.
  on node ethtool -K wan gro on || return 1
  # Without TSO every frame on that wire goes through the one receive ring of `wan`, as on a real port; with it the
  # ring would hold the flood alone and everyone else would walk past.
  on internet ethtool -K node tso off || return 1
  LAB_NODE_MAC=$(ip -n "$LAB-node" -j link show wan | sed 's/.*"address":"\([^"]*\)".*/\1/')
}

lab_link() { ip -n "$LAB-$1" link add "$2" type veth peer name "$4" netns "$LAB-$3" && ip -n "$LAB-$1" link set "$2" up && ip -n "$LAB-$3" link set "$4" up; }

lab_address() { ip -n "$LAB-$1" address add "$3" dev "$2" && ip -n "$LAB-$1" address add "$4" dev "$2" nodad; }

# lab_start NAME ROLE CMD...: not a child of the terminal, so that Ctrl-C reaches only the script, which cleans up.
lab_start() {
  local name=$1 role=$2; shift 2
  setsid nsenter --net="/run/netns/$LAB-$role" -- "$@" > "$LAB_DIR/$name.log" 2>&1 < /dev/null &
  echo "$! $(lab_birth $!)" > "$LAB_DIR/$name.pid"
}

# The start time of a process: a number used again by another process is not ours to end.
lab_birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# lab_stop NAME: ends what lab_start began and waits for it; silent if it is gone.
lab_stop() {
  local file=$LAB_DIR/$1.pid pid birth i
  [ -f "$file" ] || return 0
  read -r pid birth < "$file"
  rm -f "$file"
  for i in {1..40}; do
    [ -n "$birth" ] && [ "$(lab_birth "$pid")" = "$birth" ] || break
    if [ "$i" = 1 ]; then kill "$pid" 2>/dev/null; elif [ "$i" = 30 ]; then kill -9 "$pid" 2>/dev/null; fi
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || true
}

lab_wait() {
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)); shift
  until "$@" > /dev/null 2>&1; do
    [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || return 1
    sleep 0.05
  done
}

# lab_web [ROLE [ADDRESS]]: the server's web server, or another's: one page of 4 kB.
lab_web() {
  local role=${1:-server} address=${2:-198.51.100.10}
  mkdir -p "$LAB_DIR/web/root" || return 1
  head -c 3072 /dev/zero | base64 -w 76 > "$LAB_DIR/web/root/index.html"
  cat > "$LAB_DIR/web/nginx.conf" <<CONF
user root; daemon off; worker_processes 1; pid $LAB_DIR/web/pid; error_log $LAB_DIR/web/error.log;
events {}
http {
  access_log off;
  client_body_temp_path $LAB_DIR/web/t1; proxy_temp_path $LAB_DIR/web/t2; fastcgi_temp_path $LAB_DIR/web/t3;
  uwsgi_temp_path $LAB_DIR/web/t4; scgi_temp_path $LAB_DIR/web/t5;
  server { listen 80; listen [::]:80; root $LAB_DIR/web/root; }
}
CONF
  lab_start web "$role" nginx -c "$LAB_DIR/web/nginx.conf" -e "$LAB_DIR/web/error.log" || return 1
  lab_wait 5 on client curl -sf -m 1 -o /dev/null "http://$address/"
}

# lab_fetch COUNT [SECONDS] [TIMEOUT] [URL]: fetches one after another, at most so many and for so long.
# One line each: start (s since the first), outcome (ok or curl's exit code), time taken (ms).
lab_fetch() {
  local count=$1 seconds=${2:-60} timeout=${3:-1} url=${4:-http://198.51.100.10/} begin=${EPOCHREALTIME/[.,]/} at time code i
  for ((i = 0; i < count; i++)); do
    at=$((${EPOCHREALTIME/[.,]/} - begin))
    [ $at -lt $((seconds * 1000000)) ] || break
    time=$(on client curl -s -m "$timeout" -o /dev/null -w '%{time_total}' "$url"); code=$?
    [ $code = 0 ] && code=ok
    awk -v at=$at -v t="$time" -v code=$code 'BEGIN { printf "%.2f %s %.2f\n", at / 1e6, code, t * 1000 }'
  done
}

# lab_latency < lines of lab_fetch: "OK TOTAL MEDIAN P99" with times in ms ("-" if none succeeded).
lab_latency() {
  sort -k3,3n | awk '{ n++ } $2 == "ok" { t[++k] = $3 }
    END { if (k) printf "%d %d %.2f %.2f\n", k, n, t[int((k + 1) / 2)], t[int((k * 99 + 99) / 100)]; else printf "0 %d - -\n", n }'
}

# Removes the lab: its processes, what penstock put into its node, the namespaces, the files.  Safe at any point.
lab_down() {
  [ -n "${LAB:-}" ] && [ -d "$LAB_RUN/$LAB" ] || return 0
  local file role binary
  LAB_DIR=$LAB_RUN/$LAB
  for file in "$LAB_DIR"/*.pid; do [ -e "$file" ] && lab_stop "$(basename "$file" .pid)"; done
  binary=$(cat "$LAB_DIR/penstock")
  if [ -d "/sys/fs/bpf/penstock/$LAB" ] && [ -x "$binary" ]; then PENSTOCK=$binary penstock off > /dev/null 2>&1 || true; fi
  # The instance is the lab's own, so what `off` left (revisions, or pins if it could not run) goes with it.
  rm -rf "/sys/fs/bpf/penstock/$LAB" "/run/penstock/$LAB" "/var/lib/penstock/$LAB"
  for role in "${LAB_ROLES[@]}"; do [ ! -e "/run/netns/$LAB-$role" ] || ip netns delete "$LAB-$role"; done
  rm -rf "$LAB_DIR"
  rmdir "$LAB_RUN" 2>/dev/null || true
}

# With KEEP=1 a lab that ends well stays; one that is interrupted never does.
lab_trap() {
  trap 'trap "" INT TERM HUP; lab_down' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}
