# Short names for what is done often. `just ci` is what CI runs.

# List the recipes.
default:
    @just --list

# Serve a lone hub on localhost:8080.
run *arguments:
    cargo run --release -- {{arguments}}

# Every check, exactly as CI runs it.
ci:
    bash .ci/run

# Formatting, clippy and the quick tests.
fast:
    ./scripts/test --fast

# Everything but the tests.
lint:
    ./scripts/test --lint

# Put the sources into shape.
fmt:
    cargo fmt --all

# Micro-benchmarks.
bench *arguments:
    cargo bench {{arguments}}

# What deploy-hub.sh would do, for example: just deploy-plan iad fra
deploy-plan +hubs:
    ./deploy-hub.sh --dry-run {{hubs}}
