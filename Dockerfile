# secateur on a CPU.
#   docker build -t secateur .
#   docker run --rm -v "$PWD/outputs:/work/outputs" secateur train debug=fast
FROM python:3.11-slim AS build
WORKDIR /source
# the environment first: it changes seldom, the code often
COPY pyproject.toml constraints.txt README.md LICENSE ./
# uv knows where the wheels of torch without CUDA are: a tenth of the size
ENV UV_TORCH_BACKEND=cpu UV_NO_CACHE=1 VIRTUAL_ENV=/env
RUN pip install --no-cache-dir uv && uv venv /env \
    && grep -vE '^(nvidia-|cuda-|triton)' constraints.txt > cpu.txt \
    && uv pip install -c cpu.txt torch torchvision
COPY src src
COPY hydra_plugins hydra_plugins
COPY callbacks callbacks
COPY datamodules datamodules
COPY conf conf
COPY experiments experiments
RUN uv pip install -c cpu.txt '.[wandb,export]' \
    && find /env -name '__pycache__' -type d -prune -exec rm -rf {} +

FROM python:3.11-slim
COPY --from=build /env /env
ENV PATH=/env/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["secateur"]
CMD ["--help"]
