# agentwright as a server: see docs/operations.md, "In a container".
FROM rust:1.94-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package agentwright-cli --bin agentwright

FROM debian:bookworm-slim
# bubblewrap: the walls; python3 and git: foundations and builds; ca-certificates: models and webhooks.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates git python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /home/agentwright agentwright \
 && install --directory --owner agentwright --group agentwright --mode 0700 /data
COPY --from=build /src/target/release/agentwright /usr/local/bin/agentwright
USER agentwright
ENV AGENTWRIGHT_DATA=/data
VOLUME /data
EXPOSE 8400
# The published port is the container's only way in, and every request shows a key.
ENTRYPOINT ["agentwright"]
CMD ["up", "--host", "0.0.0.0"]
# The login page needs no key.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/login', timeout=4)"]
