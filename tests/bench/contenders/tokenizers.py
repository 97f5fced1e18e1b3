"""A tokenizer for libraries that count tokens, if its vocabulary cannot be downloaded here."""

from __future__ import annotations


def lend_a_tokenizer(name: str = "o200k_base") -> None:
    """Let tiktoken count bytes as tokens if the vocabulary *name* cannot be downloaded.

    openaivec counts to keep a request within 128,000 tokens, of which the requests of these jobs need at most five
    sixths even so. curator counts to keep below a limit of tokens a minute.
    """
    import tiktoken  # type: ignore[import-not-found]  # In environments of their own.

    try:
        tiktoken.get_encoding(name)
    except OSError:
        ranks = {bytes([byte]): byte for byte in range(256)}
        stand_in = tiktoken.Encoding("bytes", pat_str=r"\p{L}+|\P{L}+", mergeable_ranks=ranks, special_tokens={})
        tiktoken.registry.ENCODINGS[name] = stand_in
