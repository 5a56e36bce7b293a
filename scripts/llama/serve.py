"""Serves a model with llama.cpp on a free port of the loopback until standard input ends. The first line of standard
output is its address. Started by tests (crates/llm/tests/it/llama.rs); installed by scripts/llama.sh."""
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = 0
params.n_ctx = 2048
params.n_parallel = 2
params.n_gpu_layers = 0
params.warmup = False
params.ui = False
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
