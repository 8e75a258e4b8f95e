# raretask with everything it needs, so that nothing is fetched at run time. README, "In a container", says how it is used; .ci/image
# builds and tries it, and .ci/pin writes the digests of the bases here, which go by tag until then.
FROM golang:1.26.8-bookworm AS go

FROM debian:12.15-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev python3 python3-venv tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
ENV PATH=/raretask/.raretask/python/bin:/usr/local/go/bin:$PATH \
    GOTOOLCHAIN=local \
    GOPATH=/go \
    GOCACHE=/var/cache/go-build \
    LANG=C.UTF-8 \
    SHELL=/bin/bash \
    RARETASK_ROOT=/raretask \
    RARETASK_RESULTS=/results
WORKDIR /raretask

FROM base AS build
COPY --from=go /usr/local/go /usr/local/go
RUN cd /usr/local/go && rm -rf api doc misc test

# The Python environment, the kernel and the plugin, from as little of the code as sets them up; what they were built from is left behind.
# BACKEND=xla:cuda adds the plugin for GPUs; go-xla installs it only where nvidia-smi tells of one, as it does in this build.
ARG BACKEND=xla:cpu
COPY go.mod go.sum ./
COPY pkg/backend pkg/backend
COPY pkg/lab pkg/lab
COPY pkg/cmd/raretask/main.go pkg/cmd/raretask/progress.go pkg/cmd/raretask/setup.go pkg/cmd/raretask/
COPY notebooks/requirements.txt notebooks/
RUN export GOCACHE=/tmp/cache GOPATH=/tmp/go PIP_NO_CACHE_DIR=1 \
 && go run ./pkg/cmd/raretask setup \
 && printf '#!/bin/sh\necho NVIDIA-SMI\n' >/tmp/nvidia-smi && chmod +x /tmp/nvidia-smi \
 && PATH=$PATH:/tmp GOMLX_BACKEND=$BACKEND go run ./pkg/cmd/raretask setup \
 && rm -rf .raretask/jupyter ~/.cache ~/.config /tmp/*

# The figure makes the caches hold what cells need, and is a test of the image. Any user may write to them, and as go removes what it
# hasn't used for five days, all is as if it had been used in 2100. The zips are only for checking what has been unpacked.
COPY . .
RUN umask 0 \
 && go build -ldflags='-s -w' -o /usr/local/bin/raretask ./pkg/cmd/raretask \
 && chmod 755 /usr/local/bin/raretask \
 && go build ./pkg/... ./tasks/... \
 && RARETASK_RESULTS=/tmp/results raretask reproduce fig2 --scale smoke --out /tmp/figures \
 && find /go/pkg/mod/cache/download -name '*.zip' -delete \
 && find "$GOCACHE" -exec touch -d 2100-01-01 {} + \
 && rm -rf .raretask/jupyter ~/.cache ~/.config /tmp/*

FROM base
LABEL org.opencontainers.image.title="raretask" \
      org.opencontainers.image.description="Why do larger models learn tasks that smaller ones never do? A workbench in Go and Jupyter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usr/local/go /usr/local/go
COPY --from=build /raretask/.raretask .raretask
COPY --from=build /go /go
COPY --from=build /var/cache/go-build /var/cache/go-build
COPY --from=build /usr/local/bin/raretask /usr/local/bin/
COPY .container /usr/local/bin/
COPY . .

# People change notebooks. Binder asks for its own user, with the clone at home, and for `jupyter notebook`, which here is JupyterLab.
ARG NB_USER=jovyan
ARG NB_UID=1000
ARG NB_GID=100
ENV NB_USER=$NB_USER NB_UID=$NB_UID NB_GID=$NB_GID
RUN useradd --no-log-init --create-home --shell /bin/bash --uid "$NB_UID" --gid "$NB_GID" "$NB_USER" \
 && install -d -m 777 "$RARETASK_RESULTS" \
 && chmod a+w notebooks notebooks/*.ipynb \
 && ln -s /raretask "/home/$NB_USER/raretask" \
 && ln -s /raretask/.raretask/python/bin/jupyter-lab /usr/local/bin/jupyter-notebook

USER $NB_UID
EXPOSE 8888
HEALTHCHECK --interval=30s --start-period=60s CMD healthy.py
ENTRYPOINT ["start.sh"]
CMD ["lab", "--no-browser"]
