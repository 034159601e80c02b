#!/usr/bin/env bash
# nat-lab.sh - a small internet with NATs in network namespaces, for tests of NAT traversal.
#
#                 hub 198.51.100.1 .2 .3      (three hubs' addresses, one namespace)
#                  |
#      ------------+--------- wan (bridge in the hub namespace, 198.51.100.0/24)
#      |                |             |
#    nata .11         natb .12        o .21   (a node with a public address, no NAT)
#      | 10.1.0.1       | 10.2.0.1
#    --+-----           |
#    a .2  a2 .3        b .2
#
# usage:
#   nat-lab.sh check                      exit 0 when the lab can run here, else 77 and one line that says why
#   nat-lab.sh up [TYPE_A [TYPE_B]]       build it (default: port-restricted both)
#   nat-lab.sh nat a|b TYPE               change the flavour of one NAT (also forgets its mappings)
#   nat-lab.sh exec NODE CMD...           run CMD in node hub, a, a2, b, o, nata or natb
#   nat-lab.sh down                       remove it
#   nat-lab.sh run TYPE_A TYPE_B CMD...   up, CMD (with $NATLAB set), down; re-enters itself in a user namespace
#                                         when it is not root
# flavours (RFC 4787 words in brackets):
#   full-cone        endpoint-independent mapping, endpoint-independent filtering
#   restricted       endpoint-independent mapping, address-dependent filtering
#   port-restricted  endpoint-independent mapping, address-and-port-dependent filtering (Linux' plain masquerade)
#   symmetric        address-and-port-dependent mapping and filtering (masquerade with random ports)
#   udp-blocked      port-restricted, and UDP does not leave at all
#   none             plain routing, no translation; the wan has a route back (an "open" client)
#
# NATLAB (default "nl") is the prefix of the namespace names: use another one per parallel lab. Nothing
# outside these namespaces is touched: links are born inside them, sysctls are per namespace.
set -euo pipefail
PATH=$PATH:/usr/sbin # where Debian has ip and nft, and others than root do not look
P=${NATLAB:-nl}
NODES="hub nata natb a a2 b o"
SELF=$(readlink -f "$0")
ns() { echo "$P-$1"; }
skip() { echo "SKIP nat-lab: $1" >&2; exit 77; }

check() {
  local t=$P-check$$ probe
  for probe in ip nft; do command -v "$probe" >/dev/null || skip "no '$probe' command (Debian: iproute2, nftables)"; done
  [[ $(id -u) = 0 ]] || skip "needs root, or 'nat-lab.sh run' where user namespaces are allowed"
  ip netns add "$t" 2>/dev/null || skip "cannot create network namespaces (no CAP_SYS_ADMIN, or /run/netns is not writable)"
  probe=$(
    { ip -n "$t" link add name br0 type bridge || { echo "no bridge device (CONFIG_BRIDGE)"; exit; }
      ip -n "$t" link add name v0 type veth peer name v1 || { echo "no veth device (CONFIG_VETH)"; exit; }
      { rules full-cone v0 10.0.0.0/8 && rules symmetric v0 10.0.0.0/8; } | ip netns exec "$t" nft -f - ||
        echo "nftables cannot load NAT rules (CONFIG_NF_TABLES, NFT_NAT, NFT_MASQ, NF_CONNTRACK)"
    } 2>/dev/null)
  ip netns del "$t"
  [[ -z $probe ]] || skip "$probe"
}

# The rule set of one NAT: rules TYPE WAN_INTERFACE LAN_NETWORK
#
# Mappings: Linux keeps the source port when it is free, towards every destination, so plain masquerade is
# endpoint-independent in a quiet lab. "open" and "peers" record what went out; the two cone flavours let
# packets back in by them. The input chain matters: a NAT that answered (RST, ICMP) or even accepted an
# early packet of the other side would leave a conntrack entry that makes the client's own packet take
# another port, and hole punching would fail for a reason no real router has.
rules() {
  local type=$1 wan=$2 lan=$3 masq="masquerade" in="" learn="" fwd=""
  case $type in
  full-cone)
    learn="meta l4proto { tcp, udp } update @open { meta l4proto . th sport timeout 120s : ip saddr . th sport }"
    in="dnat ip to meta l4proto . th dport map @open" ;;
  restricted)
    learn="meta l4proto { tcp, udp } update @open { meta l4proto . th sport timeout 120s : ip saddr . th sport }
    meta l4proto { tcp, udp } update @peers { meta l4proto . th sport . ip daddr timeout 120s }"
    in="meta l4proto . th dport . ip saddr @peers dnat ip to meta l4proto . th dport map @open" ;;
  port-restricted) ;;
  symmetric) masq="masquerade fully-random" ;;
  udp-blocked) fwd="oifname $wan meta l4proto udp drop" ;;
  none) masq="" ;;
  *) echo "nat-lab: unknown flavour '$type'" >&2; return 2 ;;
  esac
  cat <<EOF
add table ip lab
delete table ip lab
table ip lab {
  map open {
    type inet_proto . inet_service : ipv4_addr . inet_service
    flags dynamic, timeout
    size 65535
  }
  set peers {
    type inet_proto . inet_service . ipv4_addr
    flags dynamic, timeout
    size 65535
  }
  chain learn {    # before source NAT, for every packet: keeps the recorded mapping fresh
    type filter hook postrouting priority 90;
    oifname $wan ip saddr $lan jump remember
  }
  chain remember {
    $learn
  }
  chain out {
    type nat hook postrouting priority 100;
    oifname $wan ip saddr $lan $masq
  }
  chain back {
    type nat hook prerouting priority -100;
    iifname $wan jump admit
  }
  chain admit {
    $in
  }
  chain forward {
    type filter hook forward priority 0;
    $fwd
  }
  chain input {
    type filter hook input priority 0;
    iifname $wan ct state new drop
  }
}
EOF
}

# nat a|b TYPE
nat() {
  local n=nat$1 i host from
  [[ $1 = a ]] && i=1 || i=2
  host=10.$i.0.0/24
  for from in hub o natb nata; do # the wan knows the way to an untranslated network only
    [[ $from = "$n" ]] && continue
    ip -n "$(ns "$from")" route del $host 2>/dev/null || true
    [[ $2 != none ]] || ip -n "$(ns "$from")" route add $host via 198.51.100.1$i
  done
  rules "$2" wan $host | ip netns exec "$(ns "$n")" nft -f -
  # translations in use survive a change of the rules: drop them, if the tool is here
  if command -v conntrack >/dev/null; then ip netns exec "$(ns "$n")" conntrack -F >/dev/null 2>&1 || true; fi
}

up() {
  local n i
  check
  [[ ! -e /run/netns/$(ns hub) ]] || { echo "nat-lab: '$P' is up already (nat-lab.sh down)" >&2; exit 1; }
  trap '[[ $? = 0 ]] || down' EXIT # half a lab helps nobody
  for n in $NODES; do
    ip netns add "$(ns "$n")"
    ip -n "$(ns "$n")" link set lo up
    ip netns exec "$(ns "$n")" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
  done
  ip -n "$(ns hub)" link add name wan type bridge
  for i in 1 2 3; do ip -n "$(ns hub)" addr add 198.51.100.$i/24 dev wan; done
  ip -n "$(ns hub)" link set wan up
  wan nata 11; wan natb 12; wan o 21
  for n in a b; do
    [[ $n = a ]] && i=1 || i=2
    ip -n "$(ns nat$n)" link add name lan type bridge
    ip -n "$(ns nat$n)" addr add 10.$i.0.1/24 dev lan
    ip -n "$(ns nat$n)" link set lan up
    ip netns exec "$(ns nat$n)" sysctl -qw net.ipv4.ip_forward=1
  done
  lan a nata 10.1.0 2; lan a2 nata 10.1.0 3; lan b natb 10.2.0 2
  nat a "${1:-port-restricted}"
  nat b "${2:-${1:-port-restricted}}"
}

wan() { # a namespace's interface on the wan: wan NODE LAST_OCTET
  ip -n "$(ns "$1")" link add name wan type veth peer name "p-$1" netns "$(ns hub)"
  ip -n "$(ns hub)" link set "p-$1" master wan up
  ip -n "$(ns "$1")" addr add "198.51.100.$2/24" dev wan
  ip -n "$(ns "$1")" link set wan up
}

lan() { # a client: lan NODE NAT_NODE NET LAST_OCTET
  ip -n "$(ns "$1")" link add name eth0 type veth peer name "p-$1" netns "$(ns "$2")"
  ip -n "$(ns "$2")" link set "p-$1" master lan up
  ip -n "$(ns "$1")" addr add "$3.$4/24" dev eth0
  ip -n "$(ns "$1")" link set eth0 up
  ip -n "$(ns "$1")" route add default via "$3.1"
}

down() { # what still runs inside is killed: it would keep the namespace alive
  local n pids=()
  for n in $NODES; do
    [[ -e /run/netns/$(ns "$n") ]] || continue
    mapfile -t pids < <(ip netns pids "$(ns "$n")" || true)
    ((${#pids[@]} == 0)) || kill -9 "${pids[@]}" 2>/dev/null || true
    ip netns del "$(ns "$n")"
  done
}

cmd=${1:-}
[[ $# -gt 0 ]] && shift
case $cmd in
check) check ;;
up) up "$@" ;;
nat) nat "$@" ;;
exec) n=$(ns "$1"); shift; exec ip netns exec "$n" "$@" ;;
down) down ;;
run)
  if [[ $(id -u) != 0 ]]; then
    unshare -Urnm true 2>/dev/null || skip "not root, and user namespaces are not allowed"
    exec unshare -Urnm --propagation private bash -c 'mount -t tmpfs tmpfs /run && exec "$@"' - "$SELF" run "$@"
  fi
  a=$1 b=$2; shift 2
  up "$a" "$b"
  trap down EXIT
  NATLAB=$P "$@"
  ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$SELF"; exit 2 ;;
esac
