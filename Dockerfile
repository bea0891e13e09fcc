# vidssl on a GPU, as a user without rights:
#
#   docker build -t vidssl --build-arg VIDSSL_COMMIT="$(git rev-parse HEAD)" .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" vidssl train vcop_r3d --data VIDEOS --out RUN
#
# --shm-size: NCCL exchanges gradients of several GPUs through /dev/shm, of which a container has 64 MB by default. vidssl
# itself decodes in threads and needs none. torch brings its own CUDA libraries; the driver comes from the host.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The pinned versions, except torch, which comes for CUDA 13.
RUN python3 -m venv /opt/vidssl \
  && VIDSSL_CUDA=1 /opt/vidssl/bin/pip install --no-cache-dir -c constraints.txt ".[gpu]"

FROM nvidia/cuda:13.0.1-base-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3 tini \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 10001 vidssl
COPY --from=build /opt/vidssl /opt/vidssl
ARG VIDSSL_COMMIT=""
# "video" is what NVDEC needs of the driver.
ENV PATH=/opt/vidssl/bin:$PATH NVIDIA_DRIVER_CAPABILITIES=compute,utility,video VIDSSL_COMMIT=$VIDSSL_COMMIT
USER 10001
WORKDIR /work
# tini passes SIGTERM on, at which a run writes a checkpoint and ends.
ENTRYPOINT ["tini", "--", "vidssl"]
CMD ["info"]
