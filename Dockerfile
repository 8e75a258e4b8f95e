# raretask with everything it needs, so that nothing is fetched at run time. README, "In a container", says how it is used.
# What changes often comes last; caches are written under umask 0 because a cluster runs this as any user.
FROM golang:1.26-bookworm

LABEL org.opencontainers.image.title="raretask" \
      org.opencontainers.image.description="Why do larger models learn tasks that smaller ones never do? A workbench in Go and Jupyter" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

ENV GOTOOLCHAIN=local \
    GOCACHE=/var/cache/go-build \
    HOME=/home/raretask \
    RARETASK_ROOT=/raretask \
    RARETASK_RESULTS=/results
RUN useradd --uid 1000 --home-dir "$HOME" raretask \
 && install -d -m 777 "$HOME" "$RARETASK_RESULTS" "$GOCACHE"
WORKDIR /raretask

# The zips are only for checking what has been unpacked.
COPY go.mod go.sum ./
RUN go mod download && find "$(go env GOMODCACHE)/cache/download" -name '*.zip' -delete

# The Python environment, the kernel and the plugin, from as little of the code as sets them up.
COPY pkg/backend pkg/backend
COPY pkg/lab pkg/lab
COPY pkg/cmd/raretask/main.go pkg/cmd/raretask/progress.go pkg/cmd/raretask/setup.go pkg/cmd/raretask/
COPY notebooks/requirements.txt notebooks/
RUN export GOCACHE=/tmp/go-build PIP_NO_CACHE_DIR=1 \
 && go run ./pkg/cmd/raretask setup \
 && rm -rf /tmp/go-build

# The figure makes the build cache hold what cells need, and is a test of the image. People change notebooks.
COPY . .
RUN umask 0 \
 && go build -o /usr/local/bin/raretask ./pkg/cmd/raretask \
 && go build ./pkg/... ./tasks/... \
 && raretask reproduce fig2 --scale smoke --out /tmp/figures \
 && rm -rf /tmp/* "$RARETASK_RESULTS"/* "$HOME"/.[!.]* .raretask/jupyter \
 && chmod a+w notebooks notebooks/*.ipynb

USER raretask
ENTRYPOINT ["raretask"]
CMD ["-h"]
