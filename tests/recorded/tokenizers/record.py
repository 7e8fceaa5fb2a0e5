# Makes bpe.json, wordpiece.json (small trained tokenizers) and encodings.json beside this file, with the package `tokenizers` 0.23.
# --models GGUF VOCAB adds the encodings of SmolLM2 and MiniLM: models.json.
import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = Path(__file__).parent
texts = [
    "Hello, world!", "", " ", "  two  blanks ", "I'm sure they'll've done it; it's 'quoted'.", "line\n\n  indented\ttab \n",
    "12345 + 67 = 12412, x2 and 3.14", "Gr\u00fc\u00dfe aus K\u00f6ln, \u00e9t\u00e9 \u00c5ngstr\u00f6m na\u00efve", "\u65e5\u672c\u8a9e and \ud55c\uad6d\uc5b4 mixed", "emoji \U0001f600\U0001f468\u200d\U0001f469 end",
    "a\u00a0b\u2003c\u3000d", "\u0660\u0661\u0662 \u00bd \u2167 \u00b2", "def f(x):\n    return x**2  # square\n", "<|im_start|>user\nHi<|im_end|>\n", "[CLS] in a text [SEP]",
    "combining e\u0301 and \u0130stanbul \u0391\u0398\u0397\u039d\u0391 \u041c\u043e\u0441\u043a\u0432\u0430", "don't won't can't 'S 'T", "x" * 120 + " y", "tail   ", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0939\u093f\u0928\u094d\u0926\u0940",
]
corpus = ["the quick brown fox jumps over the lazy dog. " * 3, "Hello, world! it's a small world, isn't it?", "return x def f 1 2 3 \u00e9t\u00e9 Gr\u00fc\u00dfe",
          "they will have done it; line indented tab emoji mixed combining"] * 4


def encode(t): return [{"text": s, "ids": t.encode(s).ids, "decoded": t.decode(t.encode(s).ids)} for s in texts]


def bpe_parts(t):
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()


def bert_parts(t, cls, sep):
    t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])


if len(sys.argv) > 1 and sys.argv[1] == "--models":
    sys.path.insert(0, str(here.parent / "models"))
    from gguf_numpy import read_gguf
    meta, _ = read_gguf(sys.argv[2])
    tokens = meta["tokenizer.ggml.tokens"]
    smol = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]))
    bpe_parts(smol)
    smol.add_special_tokens([AddedToken(t, special=True) for t, k in zip(tokens, meta["tokenizer.ggml.token_type"]) if k == 3])
    names = Path(sys.argv[3]).read_text(encoding="utf-8").split("\n")
    mini = Tokenizer(models.WordPiece({t: i for i, t in enumerate(names) if t}, unk_token="[UNK]"))
    bert_parts(mini, 101, 102)
    mini.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    (here / "models.json").write_text(json.dumps({"smollm2": encode(smol), "minilm": encode(mini)}, indent=0))
else:
    bpe = Tokenizer(models.BPE())
    bpe_parts(bpe)
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    bpe.save(str(here / "bpe.json"))
    word = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert_parts(word, 2, 3)
    word.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                                               show_progress=False))
    word.save(str(here / "wordpiece.json"))
    (here / "encodings.json").write_text(json.dumps({"bpe": encode(bpe), "wordpiece": encode(word)}, indent=0))
