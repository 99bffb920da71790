"""What a conversion tells of a model."""

import msgspec


class ModelFacts(msgspec.Struct, frozen=True):
    """What a conversion tells of the model; `recodings` (by column) are its own numbers of levels, as pairs."""

    algorithm: str = ""
    libraries: dict[str, str] = {}
    names: tuple[str, ...] = ()
    recodings: dict[str, list[tuple[float, float]]] = {}
