# syntax=docker/dockerfile:1

# Four stages: `chef` holds the compiler, `planner` reduces the manifests to a recipe, `builder`
# compiles the recipe (a layer that only a changed Cargo.lock invalidates) and then the sources,
# and the last stage carries the binaries and nothing else: no shell, no package manager, no root.
#
# The Rust version follows rust-toolchain.toml, and the Debian release is the same in the builder
# and in the runtime image, because the binaries link against its glibc.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-bookworm AS chef
WORKDIR /src
RUN cargo install cargo-chef --version 0.1.78 --locked

FROM chef AS planner
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY bin bin
COPY crates crates
COPY benches benches
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --workspace --bins --recipe-path recipe.json
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY bin bin
COPY crates crates
COPY benches benches
COPY web/dist web/dist
RUN cargo build --release --locked --workspace --bins \
    && mkdir /out \
    && for name in hubmesh generate-peer-ids peer-client load-test mesh-sim; do \
         strip --strip-debug -o "/out/$name" "target/release/$name" || exit 1; \
       done

FROM gcr.io/distroless/cc-debian12:nonroot AS runtime
LABEL org.opencontainers.image.title="hubmesh" \
      org.opencontainers.image.description="A federated WebRTC signaling daemon" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /out/ /usr/local/bin/

# Inside a container, localhost is reachable by nobody else.
ENV HOST=0.0.0.0 \
    PORT=8080 \
    LOG_FORMAT=json

# "nonroot" by number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# The image has no shell and no curl: the daemon's own binary asks /health on $PORT.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/hubmesh", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/hubmesh"]
