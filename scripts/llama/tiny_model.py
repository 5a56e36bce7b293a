"""Writes a random llama model of a few hundred kB as GGUF: nothing that it says means anything."""
import random, struct, sys

random.seed(7)
VOCAB = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
VOCAB += ["\u2581"] + list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"()[]{}-_/\\@#$%&*+=<>|~^`")
TYPES = [2, 3, 3] + [6] * 256 + [1] * (len(VOCAB) - 259)
EMBD, FF, HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 2048


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def u32(name, value):
    return field(name, 4, struct.pack("<I", value))


def array(name, kind, values):
    return field(name, 9, struct.pack("<IQ", kind, len(values)) + b"".join(values))


fields = [
    field("general.architecture", 8, text("llama")),
    field("general.name", 8, text("tiny")),
    u32("general.file_type", 0),
    u32("llama.context_length", CONTEXT),
    u32("llama.embedding_length", EMBD),
    u32("llama.block_count", LAYERS),
    u32("llama.feed_forward_length", FF),
    u32("llama.rope.dimension_count", EMBD // HEADS),
    u32("llama.attention.head_count", HEADS),
    u32("llama.attention.head_count_kv", HEADS),
    field("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
    u32("llama.vocab_size", len(VOCAB)),
    field("tokenizer.ggml.model", 8, text("llama")),
    array("tokenizer.ggml.tokens", 8, [text(token) for token in VOCAB]),
    array("tokenizer.ggml.scores", 6, [struct.pack("<f", -float(i)) for i in range(len(VOCAB))]),
    array("tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for kind in TYPES]),
    u32("tokenizer.ggml.bos_token_id", 1),
    u32("tokenizer.ggml.eos_token_id", 2),
    u32("tokenizer.ggml.unknown_token_id", 0),
    field("tokenizer.chat_template", 8, text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")),
]
tensors = [("token_embd.weight", [EMBD, len(VOCAB)]), ("output_norm.weight", [EMBD]), ("output.weight", [EMBD, len(VOCAB)])]
for i in range(LAYERS):
    at = f"blk.{i}."
    tensors += [(at + "attn_norm.weight", [EMBD]), (at + "ffn_norm.weight", [EMBD])]
    tensors += [(at + f"attn_{n}.weight", [EMBD, EMBD]) for n in ("q", "k", "v", "output")]
    tensors += [(at + "ffn_gate.weight", [EMBD, FF]), (at + "ffn_up.weight", [EMBD, FF]), (at + "ffn_down.weight", [FF, EMBD])]

head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields)
data = b""
for name, shape in tensors:
    head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape)
    head += struct.pack("<IQ", 0, len(data))
    count = 1
    for n in shape:
        count *= n
    values = [1.0] * count if len(shape) == 1 else [random.gauss(0.0, 0.2) for _ in range(count)]
    data += struct.pack(f"<{count}f", *values)
    data += b"\0" * (-len(data) % 32)
with open(sys.argv[1], "wb") as out:
    out.write(head + b"\0" * (-len(head) % 32) + data)
