# syntax=docker/dockerfile:1
# One image, one static binary, for amd64 and arm64: scripts/image.sh builds it with its version and commit, `docker build .`
# for the machine's own architecture without them. Compiled on the builder's architecture, without emulation.

FROM --platform=$BUILDPLATFORM rust:1-bookworm AS tools
RUN apt-get update && \
    apt-get install -y --no-install-recommends \
      gcc-aarch64-linux-gnu gcc-x86-64-linux-gnu libc6-dev-arm64-cross libc6-dev-amd64-cross && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY rust-toolchain.toml .
# The toolchain that the file names is installed by its first use.
RUN rustup target add aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu

FROM tools AS build
ARG TARGETARCH
ARG KVASS_COMMIT
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    scripts/static-binary.sh /kvass "$TARGETARCH"

# What the binary was made of, as CycloneDX, for both architectures.
FROM tools AS sbom
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,id=sbom \
    scripts/sbom.sh /kvass.cdx.json

# Certificates of authorities, time zones, and the libraries that a statically linked glibc loads for names: of the same
# Debian as the compiler's.
FROM gcr.io/distroless/base-debian12
ARG KVASS_VERSION=unknown
ARG KVASS_COMMIT=unknown
LABEL org.opencontainers.image.title="kvass" \
      org.opencontainers.image.description="Spreads the targets of one Prometheus configuration over as many Prometheus servers as they need" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$KVASS_VERSION" \
      org.opencontainers.image.revision="$KVASS_COMMIT"
COPY --from=build /kvass /kvass
COPY --from=sbom /kvass.cdx.json /usr/share/sbom/kvass.cdx.json
# No USER: volumes written by earlier versions, which ran as root, must stay writable. deploy/demo sets one.
ENTRYPOINT ["/kvass"]
