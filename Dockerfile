# docker build -t aesop .                                                        on a CPU
# docker build -t aesop --build-arg TORCH=cu126 .                                with CUDA (PyTorch's wheels bring it)
# docker run --rm -v "$PWD:/work" aesop upscale photo.jpg -o results
# docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" aesop train -opt options/train_aesop_rrdb.yml
FROM python:3.12-slim

# cpu, or the CUDA of the wheels on https://download.pytorch.org/whl
ARG TORCH=cpu

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/${TORCH}

COPY . /opt/aesop
RUN pip install --no-cache-dir '/opt/aesop[hub,spandrel]'

WORKDIR /work
ENTRYPOINT ["aesop"]
CMD ["--help"]
