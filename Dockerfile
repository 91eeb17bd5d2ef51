# Both commands of README.md, in an image:
#   docker build -t xmodal .                                 # or, for GPUs: --build-arg EXTRAS='[gpu]'
#   docker run -v "$PWD/out:/out" xmodal                     # or, for GPUs: --gpus all
#   docker run xmodal pytest -n 2 --dist loadfile            # of an image built with EXTRAS='[test]'
FROM python:3.13-slim
ARG EXTRAS=
WORKDIR /xmodal
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e ".${EXTRAS}"
# Assets and features are kept beside the runs, in the folder that is mounted.
ENV XMODAL_HOME=/out/cache
CMD ["python", "-m", "xmodal.run", "--flagfile=experiments/vgg_to_bert.cfg", \
     "--output_dir=/out/runs/vgg_to_bert", "--saved_models_dir=/out/saved_models"]
