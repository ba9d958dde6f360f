# syntax=docker/dockerfile:1
# pyadx as a BIDS-App: docker build -t pyadx --build-arg VERSION=0.2.0 .
# For GPUs: --build-arg CUDA=13-0 --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG PYTHON=3.12

# This stage builds the wheel; its compilers do not get into the final image.
FROM python:${PYTHON}-slim-bookworm AS wheel
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG CUDA=
# The sources are copied without .git, so git cannot tell the version.
ARG VERSION=0.2.0
ENV SETUPTOOLS_SCM_PRETEND_VERSION=${VERSION}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ make \
    && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3008
RUN if [ -n "$CUDA" ]; then \
      repository=https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64 \
      && python -c "import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])" \
        "$repository/cuda-keyring_1.1-1_all.deb" /tmp/keyring.deb \
      && dpkg -i /tmp/keyring.deb \
      && apt-get update \
      && apt-get install -y --no-install-recommends "cuda-nvcc-$CUDA" "cuda-cudart-dev-$CUDA" "cuda-crt-$CUDA" \
      && rm -rf /tmp/keyring.deb /var/lib/apt/lists/*; \
    fi
ENV PATH=/usr/local/cuda/bin:$PATH
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch==$TORCH" \
    && pip install --no-cache-dir "numpy>=1.26" "setuptools>=77" "setuptools-scm>=8" "pybind11>=2.13" "cmake>=3.25" ninja
COPY . /src
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels /src

FROM python:${PYTHON}-slim-bookworm
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="pyadx" \
      org.opencontainers.image.description="Visual explanations of 3D CNNs on brain MRI; research software" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch==$TORCH" \
    && pip install --no-cache-dir "$(echo /wheels/pyadx-*.whl)[report,gradients]" "bids-validator-deno>=2"
# Clusters and `docker run --user` run as another user, who needs a writable home too.
RUN useradd --uid 1000 --create-home pyadx && chmod 1777 /home/pyadx
ENV HOME=/home/pyadx
USER 1000
WORKDIR /home/pyadx
ENTRYPOINT ["pyadx", "bids"]
