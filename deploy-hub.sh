#!/usr/bin/env bash
# Deploys a mesh of hubs to Fly.io, one app per hub: the bootstrap hub first, then the others, each
# linked to it. Safe to run again: apps that exist are updated. `--help` has the rest.
#
# Secrets reach flyctl on its standard input, so they show neither in the output nor in `ps`.
set -euo pipefail

readonly EX_FAILED=1 EX_USAGE=64 EX_UNAVAILABLE=69 EX_TEMPFAIL=75
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly ROOT

usage() {
  cat <<'HELP'
Deploy a mesh of hubmesh hubs to Fly.io, one app per hub.

Usage: deploy-hub.sh [options] HUB [HUB...]

  HUB is REGION or APP:REGION. A bare REGION becomes the app PREFIX-REGION.
  The first HUB is the bootstrap hub; every other one is linked to it.

  deploy-hub.sh iad fra syd                      hubmesh-iad, hubmesh-fra, hubmesh-syd
  deploy-hub.sh my-hub:iad my-second-hub:fra     names of your own
  deploy-hub.sh --dry-run iad fra                print what would be done, do nothing

Options:
  --prefix PREFIX     app name prefix for bare regions      [FLY_APP_PREFIX, hubmesh]
  --org ORG           Fly organization for new apps         [FLY_ORG, flyctl's default]
  --config FILE       Fly configuration                     [FLY_CONFIG, fly.toml beside this script]
  --image IMAGE       deploy this image, build none         [FLY_IMAGE]
  --timeout SECONDS   wait this long for each /ready        [HEALTH_TIMEOUT, 180]
  --keep-secrets      leave the secrets of the apps alone; then HUB_TOKEN is not needed
  --dry-run           print the commands, run none
  --help              print this

Environment:
  HUBS                the hubs, separated by spaces, when none are given as arguments
  HUB_TOKEN           the secret that the hubs of the mesh share (required; at least 16 characters)
  AUTH_TOKEN          the secret that peers must show (optional)
  HUB_MESH_NAMESPACE  the mesh that the hubs belong to (optional)
  MESH_DOMAIN         domain of the apps' public names      [fly.dev]

Exit codes:
  0  all hubs are deployed and healthy        69  flyctl or curl is missing, or not logged in
  1  a step failed; the rest was not tried    75  a hub did not become healthy in time
  64 wrong arguments or environment
HELP
}

say() { printf '%s\n' "$*"; }
fail() {
  local code=$1
  shift
  printf 'deploy-hub: %s\n' "$*" >&2
  exit "$code"
}

# --- Arguments -----------------------------------------------------------------------------------

prefix=${FLY_APP_PREFIX:-hubmesh}
org=${FLY_ORG:-}
config=${FLY_CONFIG:-$ROOT/fly.toml}
image=${FLY_IMAGE:-}
timeout=${HEALTH_TIMEOUT:-180}
domain=${MESH_DOMAIN:-fly.dev}
keep_secrets=false
dry_run=false
hubs=()    # as given
apps=()    # app names, the bootstrap hub first
regions=() # regions[i] is where apps[i] runs
deployed=()

parse_arguments() {
  while (($#)); do
    case $1 in
      --prefix | --org | --config | --image | --timeout)
        (($# >= 2)) || fail $EX_USAGE "$1 needs a value"
        local name=${1#--}
        printf -v "$name" '%s' "$2"
        shift 2
        ;;
      --keep-secrets) keep_secrets=true && shift ;;
      --dry-run) dry_run=true && shift ;;
      --help | -h) usage && exit 0 ;;
      -*) fail $EX_USAGE "unknown option $1 (--help lists them)" ;;
      *) hubs+=("$1") && shift ;;
    esac
  done
  ((${#hubs[@]})) || read -r -a hubs <<<"${HUBS:-}"
  ((${#hubs[@]})) || fail $EX_USAGE "name at least one hub, as REGION or APP:REGION (--help has examples)"
}

# Splits every hub into app and region, and refuses what Fly would refuse half-way through.
resolve_hubs() {
  local hub app region seen=' '
  for hub in "${hubs[@]}"; do
    region=${hub##*:}
    if [[ $hub == *:* ]]; then app=${hub%:*}; else app=$prefix-$region; fi
    [[ $region =~ ^[a-z]{3}$ ]] || fail $EX_USAGE "'$region' is not a Fly region (three small letters, as iad)"
    [[ $app =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ ]] || fail $EX_USAGE "'$app' is not an app name (a-z, 0-9 and -)"
    [[ $seen != *" $app "* ]] || fail $EX_USAGE "the app '$app' is named twice"
    seen+="$app "
    apps+=("$app")
    regions+=("$region")
  done
}

check_settings() {
  [[ $timeout =~ ^[1-9][0-9]{0,4}$ ]] || fail $EX_USAGE "--timeout takes a number of seconds, not '$timeout'"
  [[ -f $config ]] || fail $EX_USAGE "there is no Fly configuration at $config"
  [[ ${HUB_TOKEN:-}${AUTH_TOKEN:-} != *$'\n'* ]] || fail $EX_USAGE "a token must not contain a line break"
  if $keep_secrets || $dry_run; then return; fi
  [[ -n ${HUB_TOKEN:-} ]] || fail $EX_USAGE "set HUB_TOKEN, the secret that the hubs share, or pass --keep-secrets"
  ((${#HUB_TOKEN} >= 16)) || fail $EX_USAGE "HUB_TOKEN is shorter than 16 characters"
}

# --- Tools ---------------------------------------------------------------------------------------

flyctl=flyctl

find_tools() {
  if $dry_run; then return; fi
  if ! command -v flyctl >/dev/null; then
    command -v fly >/dev/null ||
      fail $EX_UNAVAILABLE "flyctl is not installed: https://fly.io/docs/flyctl/install/ (--dry-run works without it)"
    flyctl=fly
  fi
  command -v curl >/dev/null || fail $EX_UNAVAILABLE "curl is not installed; it asks the hubs for their health"
  "$flyctl" auth whoami >/dev/null 2>&1 </dev/null ||
    fail $EX_UNAVAILABLE "flyctl is not logged in: run '$flyctl auth login' or set FLY_API_TOKEN"
}

# Runs a command, or prints it on a dry run. Nothing secret may be among its arguments.
run() {
  if $dry_run; then
    printf '+'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@" </dev/null
  fi
}

# --- Steps ---------------------------------------------------------------------------------------

ensure_app() {
  local app=$1
  if ! $dry_run && "$flyctl" status --app "$app" >/dev/null 2>&1 </dev/null; then
    say "app $app exists"
    return
  fi
  run "$flyctl" apps create "$app" ${org:+--org "$org"}
}

# Staged: the deployment that follows puts them to use, without a restart of its own.
set_secrets() {
  local app=$1
  if $keep_secrets; then return; fi
  if $dry_run; then
    say "+ $flyctl secrets import --app $app --stage < (HUB_TOKEN${AUTH_TOKEN:+, AUTH_TOKEN})"
    return
  fi
  {
    printf 'HUB_TOKEN=%s\n' "$HUB_TOKEN"
    if [[ -n ${AUTH_TOKEN:-} ]]; then printf 'AUTH_TOKEN=%s\n' "$AUTH_TOKEN"; fi
  } | "$flyctl" secrets import --app "$app" --stage
}

# One machine an app: PUBLIC_URL has to name one hub, and Fly would spread two over one name.
deploy_app() {
  local app=$1 region=$2
  local command=("$flyctl" deploy "$ROOT" --app "$app" --config "$config" --primary-region "$region"
    --ha=false --yes --env "PUBLIC_URL=wss://$app.$domain")
  if [[ $app != "${apps[0]}" ]]; then command+=(--env "BOOTSTRAP_HUBS=wss://${apps[0]}.$domain"); fi
  if [[ -n ${HUB_MESH_NAMESPACE:-} ]]; then command+=(--env "HUB_MESH_NAMESPACE=$HUB_MESH_NAMESPACE"); fi
  if [[ -n $image ]]; then command+=(--image "$image"); else command+=(--remote-only); fi
  run "${command[@]}"
}

wait_for_health() {
  local app=$1
  run curl --silent --show-error --fail --output /dev/null --max-time 5 \
    --retry 100000 --retry-delay 2 --retry-all-errors --retry-max-time "$timeout" \
    "https://$app.$domain/ready"
}

show_hubs() {
  say "hubs as ${apps[0]} sees them:"
  run curl --silent --show-error --fail --max-time 10 "https://${apps[0]}.$domain/hubs" && say ""
}

# Whether the hubs show that only to operators (ADMIN_TOKEN, ADMIN_ADDR).
hubs_are_private() {
  local status
  status=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 10 "https://${apps[0]}.$domain/hubs") || true
  [[ $status == 401 || $status == 404 ]] || return 1
  say "it shows them only to operators"
}

# Says how far it came, so that the operator knows what a failure left behind.
give_up() {
  local code=$1 app=$2 what=$3
  fail "$code" "$what of $app failed. Deployed and healthy before it: ${deployed[*]:-none}." \
    "Run the same command again once the cause is gone."
}

deploy_hub() {
  local app=$1 region=$2
  say "== $app in $region"
  ensure_app "$app" || give_up $EX_FAILED "$app" "creation"
  set_secrets "$app" || give_up $EX_FAILED "$app" "setting the secrets"
  deploy_app "$app" "$region" || give_up $EX_FAILED "$app" "deployment"
  wait_for_health "$app" || give_up $EX_TEMPFAIL "$app" "the health check (${timeout} s)"
  deployed+=("$app")
}

main() {
  parse_arguments "$@"
  resolve_hubs
  check_settings
  find_tools
  local i
  for i in "${!apps[@]}"; do
    deploy_hub "${apps[i]}" "${regions[i]}"
  done
  show_hubs || hubs_are_private || fail $EX_FAILED "all hubs are healthy, but ${apps[0]} did not list them"
}

main "$@"
