"""Text in, a vector out: the model's own tokenizer before it, and after it plain numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

LONGEST = 256  # tokens, where sentence-transformers cuts a text for this model too; the rest is not read


class Text(BaseModel):
    text: str = Field(description="A sentence or a short paragraph.", examples=["A man is eating food."])


class Vector(BaseModel):
    embedding: list[float]
    tokens: int = Field(description="How many tokens of the text were read.")


class Embeddings:
    Instance = Text
    Prediction = Vector

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()  # up to the longest text of each batch, whatever the file says

    def before(self, instances: Sequence[Text]) -> Mapping[str, np.ndarray]:
        tokens = self.tokenizer.encode_batch([instance.text for instance in instances])
        return {
            "input_ids": np.array([one.ids for one in tokens]),
            "attention_mask": np.array([one.attention_mask for one in tokens]),
        }

    def after(self, outputs: Mapping[str, np.ndarray]) -> Sequence[Vector]:
        vectors = outputs["sentence_embedding"].tolist()
        tokens = outputs["attention_mask"].sum(axis=1).tolist()  # an input: they are at hand here, too
        return [Vector(embedding=vector, tokens=count) for vector, count in zip(vectors, tokens, strict=True)]
