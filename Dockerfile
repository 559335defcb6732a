# syntax=docker/dockerfile:1
# One image, one static binary: docker build -t kvass .

FROM rust:1-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools && rm -rf /var/lib/apt/lists/*
# musl where its target can be had; scripts/static-binary.sh does without it otherwise.
COPY rust-toolchain.toml .
RUN rustup target add "$(uname -m)-unknown-linux-musl" || true
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    scripts/static-binary.sh /kvass

# Certificates of authorities, time zones, and the libraries that a statically linked glibc loads for names.
FROM gcr.io/distroless/base-debian12
COPY --from=build /kvass /kvass
# No USER: volumes written by earlier versions, which ran as root, must stay writable. deploy/demo sets one.
ENTRYPOINT ["/kvass"]
