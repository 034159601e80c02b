#!/usr/bin/env bash
# The tools of the checks beyond Rust: installed if possible, or named as skipped.
# Sourced by scripts/test; owns `skipped` and target/tools, and knows nothing of the checks.
#
# Possible means: Debian's packages and root, or sudo without a password, and no NO_INSTALL. Where
# installing is possible but fails, the run fails: a check must not go missing because a mirror did.

TOOLS=$PWD/target/tools
PATH=$TOOLS/bin:$TOOLS/hadolint/bin:$TOOLS/kubernetes-validate/bin:$TOOLS/schemathesis/bin:$PATH
export PATH DEBIAN_FRONTEND=noninteractive

skipped=() # one line for each check that this run leaves out, with the reason

skip() {
  skipped+=("$1: $2")
  printf 'skipping %s: %s\n' "$1" "$2"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root.
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# Why nothing can be installed here; empty if something can.
install_obstacle() {
  if [[ -n ${NO_INSTALL:-} ]]; then
    echo "NO_INSTALL is set"
  elif ! have apt-get; then
    echo "this machine has no apt-get to install it with"
  elif [[ $(id -u) != 0 ]] && ! sudo -n true >/dev/null 2>&1; then
    echo "installing needs root, or sudo without a password"
  fi
}

package_lists_are_fresh=false

refresh_package_lists() {
  if $package_lists_are_fresh; then return; fi
  # Callers test the outcome, and there `set -e` ends nothing.
  as_root apt-get update -qq -o Acquire::Retries=3 </dev/null || return 1
  package_lists_are_fresh=true
}

# Installs Debian packages, or says why that is not possible, or ends the run when it fails.
# $1: what is skipped without them; the rest: the packages.
install_packages() {
  local purpose=$1 package obstacle
  shift
  obstacle=$(install_obstacle)
  if [[ -n $obstacle ]]; then
    skip "$purpose" "$* not installed, and $obstacle"
    return 1
  fi
  refresh_package_lists || give_up_on "$*"
  for package in "$@"; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
      skip "$purpose" "this system's package sources have no $package"
      return 1
    fi
  done
  printf 'installing %s\n' "$*"
  as_root apt-get install -y -qq --no-install-recommends -o Acquire::Retries=3 \
    -o Dpkg::Options::=--force-confold "$@" </dev/null >/dev/null || give_up_on "$*"
}

give_up_on() {
  printf 'could not install %s; NO_INSTALL=1 runs the checks that need nothing new\n' "$1" >&2
  exit 1
}

need_c_compiler() {
  have cc || install_packages "C compiler, which the build will miss" gcc libc6-dev || true
}

# The fuzzer's own library is C++, which a machine with a C compiler need not have.
need_cpp_compiler() {
  have c++ || install_packages "fuzz targets" g++
}

# The tools of the README's commands; bsdutils has `script`, the terminal for them.
need_readme_commands() {
  have openssl && have curl && have script && return
  install_packages "the README's commands" openssl curl bsdutils
}

need_shellcheck() {
  have shellcheck || install_packages "shell lint" shellcheck
}

need_hadolint() {
  have hadolint || install_by_pip "Dockerfile lint" hadolint --require-hashes
}

# Its program finds its modules by PYTHONPATH.
need_kubernetes_validate() {
  have kubernetes-validate || install_by_pip "Kubernetes files" kubernetes-validate
}

# The tool that sends allowed and forbidden requests to /api, in a virtual environment with the packages of
# scripts/schemathesis.txt. The packages are many, and tests of our own check the same: if PyPI does not give them, they
# are skipped by name.
need_schemathesis() {
  local purpose="requests made of the description of /api" venv=$TOOLS/schemathesis
  if have schemathesis; then return; fi
  if [[ -n ${NO_INSTALL:-} ]]; then
    skip "$purpose" "schemathesis not installed, and NO_INSTALL is set"
    return 1
  fi
  if ! have python3 || ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    install_packages "$purpose" python3-venv || return 1
  fi
  printf 'installing schemathesis into target/tools\n'
  if ! python3 -m venv --clear "$venv" </dev/null ||
    ! "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
      -r scripts/schemathesis.txt </dev/null; then
    rm -rf "$venv"
    skip "$purpose" "PyPI did not give what scripts/schemathesis.txt names"
    return 1
  fi
}

# $1: what is skipped without it; $2: the tool, whose packages are in scripts; the rest: what pip is told beyond that.
install_by_pip() {
  local purpose=$1 tool=$2 obstacle
  shift 2
  obstacle=$(install_obstacle)
  if ! have python3 || ! python3 -m pip --version >/dev/null 2>&1; then
    install_packages "$purpose" python3-pip || return 1
  elif [[ -n ${NO_INSTALL:-} ]]; then
    skip "$purpose" "$tool not installed, and $obstacle"
    return 1
  fi
  printf 'installing %s into target/tools\n' "$tool"
  python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: "$@" \
    --target "$TOOLS/$tool" --upgrade -r "scripts/$tool.txt" </dev/null || give_up_on "$tool"
}

# Sets `compose` to the command that reads a Compose file, without an engine.
need_compose() {
  compose=(docker compose)
  if "${compose[@]}" version >/dev/null 2>&1; then return; fi
  compose=(docker-compose)
  have docker-compose || install_packages "Compose file check" docker-compose
}

# Takes programs out of a Debian package that would start a server on this machine if it were installed.
# $1: what is skipped without them; $2: the package; the rest: the programs' paths in it, the first one last to be there.
unpack_program() {
  local purpose=$1 package=$2 path=$3 name=${3##*/} obstacle download
  shift 2
  if have "$name"; then return; fi
  obstacle=$(install_obstacle)
  if [[ -n $obstacle ]]; then
    skip "$purpose" "$name not installed, and $obstacle"
    return 1
  fi
  refresh_package_lists || give_up_on "$name"
  if ! apt-cache show "$package" >/dev/null 2>&1; then
    skip "$purpose" "this system's package sources have no $package"
    return 1
  fi
  printf 'unpacking %s into target/tools\n' "$name"
  download=$(mktemp -d)
  mkdir -p "$TOOLS/bin"
  (
    cd "$download"
    apt-get download -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 "$package" </dev/null
    dpkg-deb --extract "$package"_*.deb .
    for path in "${@:2}" "$1"; do mv "$path" "$TOOLS/bin/${path##*/}"; done
  ) || give_up_on "$name"
  rm -rf "$download"
}

need_promtool() {
  unpack_program "promtool on /metrics" prometheus usr/bin/promtool
}

# nginx and HAProxy, which tests put in front of a hub, with the libraries that they are linked to.
need_proxies() {
  local proxy
  for proxy in nginx haproxy; do
    if have "$proxy"; then continue; fi
    unpack_program "tests behind $proxy" "$proxy" "usr/sbin/$proxy" || continue
    install_libraries_of "$proxy" "tests behind $proxy"
  done
}

# coturn's server and its test clients.
need_coturn() {
  local purpose="tests against coturn" programs=(turnserver turnutils_stunclient turnutils_uclient turnutils_peer)
  if have turnserver; then return; fi
  unpack_program "$purpose" coturn "${programs[@]/#/usr/bin/}" || return 1
  install_libraries_of coturn "$purpose"
}

# The tools that make the namespaces with NATs.
need_nat_lab() {
  have ip && have nft && return
  install_packages "tests in the NAT lab" iproute2 nftables
}

# $1: the package; $2: what is skipped without them.
install_libraries_of() {
  local relation package libraries=()
  while read -r relation package; do
    if [[ $relation != Depends: || $package != lib* ]]; then continue; fi
    # Installing an installed package would upgrade it.
    dpkg-query --show "$package" >/dev/null 2>&1 || libraries+=("$package")
  done < <(apt-cache depends "$1")
  if ((${#libraries[@]})); then install_packages "$2" "${libraries[@]}" || true; fi
}

# Node, Chromium and the npm packages of the browser tests. Tells the tests where Chromium is, or,
# by HUBMESH_SKIP_BROWSER, why they must stay away.
need_browser() {
  unset HUBMESH_SKIP_BROWSER
  if provide_browser; then
    CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
    export CHROMIUM
  else
    export HUBMESH_SKIP_BROWSER=${skipped[-1]#*: }
  fi
}

# As `engines` in the package.json of tests/browser and web have it.
OLDEST_NODE=20

node_is_new_enough() {
  local version
  version=$(node --version) || return 1
  version=${version#v}
  ((${version%%.*} >= OLDEST_NODE))
}

# $1: what is skipped without it.
provide_node() {
  if ! have node || ! have npm; then install_packages "$1" nodejs npm || return 1; fi
  if ! node_is_new_enough; then
    skip "$1" "node $(node --version) is older than $OLDEST_NODE"
    return 1
  fi
}

# The tools that build the page of a hub.
need_bundler() {
  provide_node "page bundle" && provide_npm_packages web "page bundle"
}

provide_browser() {
  provide_node "browser tests" || return 1
  if ! have chromium && ! have chromium-browser && ! have google-chrome && [[ -z ${CHROMIUM:-} ]]; then
    install_packages "browser tests" chromium || return 1
  fi
  provide_npm_packages tests/browser "browser tests"
}

# npm writes node_modules/.package-lock.json last: older than the lock file means stale or half done.
# $1: the folder with the lock file; $2: what is skipped without its packages.
provide_npm_packages() {
  local folder=$1 purpose=$2
  local lock=$folder/package-lock.json done=$folder/node_modules/.package-lock.json
  if [[ ! -f $lock || $done -nt $lock ]]; then return; fi
  if [[ -n ${NO_INSTALL:-} ]]; then
    skip "$purpose" "$folder/node_modules is missing or older than its lock file, and NO_INSTALL is set"
    return 1
  fi
  printf 'installing the npm packages of %s\n' "$folder"
  npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null ||
    give_up_on "the npm packages of $folder"
}
