"""explanation.npz: a model taken apart for explanations, as retraining writes it and inference reads it.

The model's answer, or its logarithm, is a sum of terms of which the Shapley values are known exactly: leaves of trees,
points of a Gaussian kernel, slopes. Each takes coordinates: tensors of the model's graph (its encoded columns, for
example), which a graph of their own computes from the model's columns. The file is made of the exported model and the
training rows alone, so it does not depend on the library that trained the model.

A model that cannot be taken apart has no terms: it is explained by sampling, with `background` rows.
"""

import io
import zipfile

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.manifest import PackageError

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]


class Leaves(msgspec.Struct, frozen=True):
    """The leaves of all trees as paths, in the order of their number of players.

    `weight` (paths,) are the leaves' values, and `sizes` (paths,) their numbers of players. Of each path's players, one
    after the other: the `player`, the share of training rows that goes on (`absent`), and the number of `conditions`.
    A condition holds where the coordinate `column` is above `above` and at most `upto`.
    """

    weight: Matrix
    sizes: Index
    player: Index
    absent: Matrix
    conditions: Index
    column: Index
    above: Matrix
    upto: Matrix


class Kernel(msgspec.Struct, frozen=True):
    """The points of a Gaussian kernel: weight x exp(-|coordinates - point|^2), over the coordinates in `column`.

    `point` (points, columns), `weight` (points,); `player` (columns,) must be ascending. `absent` (players, points) is
    the mean over the training rows of each player's share in the kernel.
    """

    weight: Matrix
    point: Matrix
    column: Index
    player: Index
    absent: Matrix


class Slopes(msgspec.Struct, frozen=True):
    """Terms slope x coordinate: each with its player, and the coordinate's mean over the training rows."""

    slope: Matrix
    column: Index
    player: Index
    mean: Matrix


class Terms(msgspec.Struct, frozen=True):
    """The terms whose sum with `base` is the model's answer, or its logarithm.

    `graph` computes the coordinates: its outputs `tensors`, one after the other. It is empty where the coordinates are
    the model's columns. `base` is the answer where no player is known. A larger difference between the sum and the
    model than `tolerance` says that the terms are not the model.
    """

    base: float
    tolerance: float
    graph: bytes
    tensors: tuple[str, ...]
    leaves: Leaves
    kernel: Kernel
    slopes: Slopes


class ExplanationFile(msgspec.Struct, frozen=True):
    """The content of explanation.npz.

    `players` are what contributions are told for (`players.py`); `player` (columns,) has the number of the player of
    each column of the model. `background` (rows, columns) are training rows as the model's graph takes them. `is_log`
    says that the model answers with Exp of the sum of its terms.
    """

    players: tuple[str, ...]
    player: Index
    background: NDArray[np.float32]
    is_log: bool
    terms: Terms | None


PARTS: dict[str, type[msgspec.Struct]] = {"leaves": Leaves, "kernel": Kernel, "slopes": Slopes}


def encode_explanation(explanation: ExplanationFile) -> bytes:
    """The bytes of explanation.npz; equal content gives equal bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        "players": np.array(explanation.players),
        "player": explanation.player,
        "background": explanation.background,
        "is_log": np.array(explanation.is_log),
    }
    terms = explanation.terms
    if terms is not None:
        arrays |= {
            "base": np.array(terms.base),
            "tolerance": np.array(terms.tolerance),
            "graph": np.frombuffer(terms.graph, np.uint8),
            "tensors": np.array(terms.tensors, np.str_),
        }
        for part in PARTS:
            own = msgspec.structs.asdict(getattr(terms, part))
            arrays |= {f"{part}_{field}": values for field, values in own.items()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def decode_explanation(content: bytes) -> ExplanationFile:
    """Read explanation.npz; raises `PackageError`. Nothing is unpickled."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        return ExplanationFile(
            players=tuple(map(str, arrays["players"])),
            player=arrays["player"],
            background=arrays["background"],
            is_log=bool(arrays["is_log"]),
            terms=_terms(arrays) if "base" in arrays else None,
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PackageError(f"explanation.npz: {error}") from error


def _terms(arrays: dict[str, NDArray[np.generic]]) -> Terms:
    parts = {
        part: kind(**{field: arrays[f"{part}_{field}"] for field in kind.__struct_fields__})
        for part, kind in PARTS.items()
    }
    return Terms(
        base=float(arrays["base"]),
        tolerance=float(arrays["tolerance"]),
        graph=arrays["graph"].tobytes(),
        tensors=tuple(map(str, arrays["tensors"])),
        **parts,  # type: ignore[arg-type]
    )
