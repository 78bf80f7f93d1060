# envwatch as a service: `watch --hooks` by default, or `serve`. docs/container.md has the commands.
#
# The paths are those of the systemd units: /etc/envwatch has config.toml, /var/lib/envwatch the state. Nothing else is
# written, so the root may be read-only.

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
COPY .ci/pins.txt ./
RUN pip install --no-cache-dir --constraint pins.txt uv
COPY pyproject.toml README.md LICENSE styles.tcss ./
COPY docs/envwatch.1 docs/
COPY envwatch envwatch
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN uv venv /opt/envwatch && \
    uv pip install --no-cache --compile-bytecode --python /opt/envwatch \
        --constraint pins.txt --build-constraints pins.txt '.[metrics,apprise]'

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/envwatch && install -d -m 0755 /etc/envwatch
COPY --from=build /opt/envwatch /opt/envwatch
# hadolint ignore=DL3064
ENV PATH=/opt/envwatch/bin:$PATH \
    HOME=/var/lib/envwatch \
    XDG_CONFIG_HOME=/etc \
    XDG_STATE_HOME=/var/lib \
    ENVWATCH_SERVE_TOKENS_FILE=/var/lib/envwatch/serve-tokens
USER 10001:10001
VOLUME ["/var/lib/envwatch"]
EXPOSE 8283

# A running poller writes history or alert state, also while the platform cannot be seen. Half an hour outlasts every
# wait of the poller, like WatchdogSec in the systemd units. With `history = false`, only `--hooks` writes.
HEALTHCHECK --interval=1m --timeout=10s --start-period=2m \
    CMD ["sh", "-c", "find /var/lib/envwatch -type f -mmin -30 | grep -q ."]

ENTRYPOINT ["envwatch"]
CMD ["watch", "--hooks"]
