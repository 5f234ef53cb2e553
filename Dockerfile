# docker build .                     compiles in a container, and ends with one static binary
# docker build . --target prebuilt   takes the static binary target/image/countersign, and needs no base image

# The image to compile in: anything with Rust, a C compiler and the static C library.
ARG BASE=docker.io/library/rust:1.95-slim-bookworm

FROM scratch AS description
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="countersign" \
      org.opencontainers.image.description="Approves or denies kubelet-serving CertificateSigningRequests by node identity and policy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/countersign"]

FROM description AS prebuilt
COPY target/image/countersign /countersign

FROM ${BASE} AS compiled
WORKDIR /build
# A static binary also needs its host named as the target: proc macros are not static.
# The flag leaves out 0.7 MB of AES for AVX-512.
ENV RUSTFLAGS="-C target-feature=+crt-static" AWS_LC_SYS_CFLAGS="-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX" CARGO_TERM_COLOR=never
# The dependencies first, with nothing of the program: this layer stays until they change.
COPY Cargo.toml Cargo.lock ./
COPY src/decision/Cargo.toml src/decision/
COPY src/heap/Cargo.toml src/heap/
RUN echo 'fn main() {}' >src/main.rs && touch src/lib.rs src/decision/lib.rs src/heap/lib.rs \
 && rustc --version --verbose | sed -n 's/^host: //p' >host \
 && cargo build --locked --release --bin countersign --target "$(cat host)"
COPY policies/default.yaml policies/
COPY src src
RUN touch src/main.rs src/lib.rs src/decision/lib.rs src/heap/lib.rs \
 && cargo rustc --locked --release --bin countersign --target "$(cat host)" -- -C link-arg=-Wl,-z,pack-relative-relocs \
 && cp "target/$(cat host)/release/countersign" /countersign

# Nothing but the binary: the API server's certificate authority comes with the service account or the kubeconfig.
FROM description
COPY --from=compiled /countersign /countersign
