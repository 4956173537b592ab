"""Embeddings and labels from the files that people have: arrays, tables and lines of text.

Arrays (.npy, .npz, .safetensors) and tables (.parquet, .csv, .tsv, .txt) are told apart by their
content, then by their ending. One of several arrays or columns is named after a colon, as
``features.npz:train``. A header is held against the length of its file before memory is taken, and
nothing is ever unpickled: a pickle runs the code that it holds.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from ssem_jax.compute.sizes import check_memory
from ssem_jax.problem.validation import on_host

LABEL_WORDS = {"label", "labels", "class", "classes", "target", "targets", "y", "category"}
"""Headers that name a column of labels without being asked."""
INDEX_WORDS = {"", "index", "id", "idx", "row", "unnamed: 0", "__index_level_0__"}
"""Headers of a column that counts rows, if it does count."""
TENSOR_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
"""Types of the .safetensors format → NumPy's."""
FORMATS = ".npy, .npz, .safetensors, .parquet, .csv, .tsv or .txt"


class Found(NamedTuple):
    """What a file holds, and in words what was taken of it."""

    values: np.ndarray
    words: str


class Column(NamedTuple):
    """A column of a table: its header, if there is one, and what it holds."""

    header: str | None
    values: Sequence[Any] | np.ndarray


def read_embeddings(path: str | os.PathLike[str]) -> np.ndarray:
    """Embeddings from a file: (N, d), or (B, p, d) with p views of each of B instances.

    Args:
        path: .npy, .npz, .safetensors, .parquet, .csv, .tsv or .txt; ``FILE:name`` for one of
            several arrays or columns.

    Raises:
        ValueError: no such file, or not an array of numbers of two or three dimensions.
    """
    return embeddings_in(path).values


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Labels from a file, as :func:`read_embeddings` reads them, or from text with one a line.

    Raises:
        ValueError: no such file, no labels in it, or several columns of which none is named.
    """
    return labels_in(path).values


def embeddings_in(path: str | os.PathLike[str]) -> Found:
    """Embeddings, and what was taken of the file."""
    found = _read(path, "embeddings")
    if not isinstance(found, Found):
        found = _matrix(found, path)
    array = on_host(found.values)
    number = jnp.issubdtype(array.dtype, jnp.number) and array.dtype.kind != "c"
    if array.ndim not in (2, 3) or not number:
        raise ValueError(
            f"{path} must hold numbers, (N, d) or (B, p, d); got shape {array.shape} of "
            f"{array.dtype}."
        )
    shape = " × ".join(map(str, array.shape))
    return Found(array, f"{shape} numbers of {array.dtype}{found.words}")


def labels_in(path: str | os.PathLike[str]) -> Found:
    """Labels, and what was taken of the file."""
    found = _read(path, "labels")
    if not isinstance(found, Found):
        if not found:
            raise ValueError(f"{path} holds no labels; write one a line.")
        column, words = _label_column(found, path)
        found = Found(_values(column), words)
    return Found(on_host(found.values), found.words)


# --------------------------------------------------------------------------------- what it is


def _read(path: str | os.PathLike[str], what: str) -> Found | list[Column]:
    """An array, or the columns of a table."""
    file, name = _named(path)
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            stream.seek(0)
            return _of_kind(_kind(file, start), file, stream, name, what)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, struct.error) as error:
        if isinstance(error, Unreadable):
            raise
        said = getattr(error, "strerror", None) or str(error)  # without the file, named already
        reason = said.splitlines()[0] if said else type(error).__name__
        raise Unreadable(f"cannot read the {what} in {file}: {reason.rstrip('.')}.") from error
    except MemoryError:
        raise Unreadable(
            f"cannot read the {what} in {file}: they do not fit into memory."
        ) from None


class Unreadable(ValueError):
    """A file that says why it is refused, and what to do."""


def _named(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """A file, and the name after a colon."""
    file = Path(path)
    before, colon, name = str(path).rpartition(":")
    if colon and not file.exists() and Path(before).is_file():
        return Path(before), name
    return file, None


def _kind(file: Path, start: bytes) -> str:
    """What a file is: by its first bytes where they tell, else by its ending."""
    ending = file.suffix.lower()
    if start.startswith(b"\x93NUMPY"):
        return ".npy"
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.startswith(b"PK"):
        return ".npz"
    if start[:1] == b"\x80" and 2 <= int.from_bytes(start[1:2], "big") <= 5:
        return ".pkl"
    return ending


def _of_kind(
    kind: str, file: Path, stream: BufferedIOBase, name: str | None, what: str
) -> Found | list[Column]:
    size = file.stat().st_size
    if kind in (".pkl", ".pickle", ".pt", ".pth", ".ckpt"):
        raise Unreadable(_pickled(file, what))
    if kind == ".npz":
        return _archive(file, stream, name, what)
    if kind == ".npy":
        if name is not None:
            raise Unreadable(f"{file} holds one array and no {name!r}; give {file.name} alone.")
        return Found(_array(stream, size, file, what), "")
    if kind == ".safetensors":
        return _tensors(file, stream, size, name, what)
    if kind == ".parquet":
        import polars as pl

        try:
            rows = pl.scan_parquet(file).select(pl.len()).collect().item()
            _check_room(8.0 * rows * len(pl.read_parquet_schema(file)))
            table = pl.read_parquet(file)
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
        columns = [Column(column, table[column].to_numpy()) for column in table.columns]
        return columns if name is None else [_by_name(columns, name, file)]
    if kind in (".csv", ".tsv", ".txt", ".dat", ".lst", ""):
        columns = _table(_text(file, stream.read()), kind, name, what)
        return columns if name is None else [_by_name(columns, name, file)]
    raise Unreadable(f"cannot read the {what} in {file}: the format must be {FORMATS}.")


def _pickled(file: Path, what: str) -> str:
    name = "embeddings" if what == "embeddings" else "labels"
    return (
        f"{file} is a pickle, which runs code when it is opened, so it is not; save the {what} as "
        f'np.save("{name}.npy", {name}), of a tensor {name}.detach().float().cpu().numpy().'
    )


# ------------------------------------------------------------------------------------- arrays


def _array(stream: BufferedIOBase, size: int, file: Path, what: str) -> np.ndarray:
    """An array in NumPy's format, whose header is held against what follows."""
    if size == 0:
        raise ValueError("the file is empty")
    version = np.lib.format.read_magic(stream)
    header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if version[0] not in header:
        raise ValueError(f"an .npy file of version {version[0]}")
    shape, _, dtype = header[version[0]](stream)
    if dtype.hasobject:
        raise Unreadable(
            f"cannot read the {what} in {file}: it holds Python objects (as arrays of rows of "
            f'different length, or pickles); save numbers, as np.save("{what}.npy", '
            "np.stack(rows)), or texts, as np.array(names, dtype=str)."
        )
    _check_length(shape, dtype.itemsize, size - stream.tell())
    _check_room(math.prod(shape) * dtype.itemsize)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _check_length(shape: Sequence[int], itemsize: int, rest: int) -> None:
    """Raise a ValueError unless as much follows a header as it promises."""
    promised = math.prod(shape) * itemsize
    if promised > rest or min(shape, default=0) < 0:
        raise ValueError(
            f"its header promises shape {tuple(shape)}, {promised:.3g} bytes, and {rest} follow; "
            "it was cut off, or is damaged"
        )


def _check_room(count: float) -> None:
    """Raise a ValueError unless so many bytes fit into memory: a file that is compressed may hold
    a thousand times its length."""
    check_memory("what it holds", count / 8, "save a sample of the rows")


def _archive(file: Path, stream: BufferedIOBase, name: str | None, what: str) -> Found:
    """An array of an .npz file. What torch saves is an archive, too, of a pickle."""
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(member.endswith(".pkl") for member in members):
            raise Unreadable(_pickled(file, what))
        arrays = {key[:-4]: member for key, member in members.items() if key.endswith(".npy")}
        chosen = _one_of(list(arrays), name, file, "arrays")
        member = arrays[chosen]
        with archive.open(member) as part:
            return Found(
                _array(cast(BufferedIOBase, part), member.file_size, file, what),
                f", {chosen!r} of {file.name}",
            )


def _tensors(file: Path, stream: BufferedIOBase, size: int, name: str | None, what: str) -> Found:
    """A tensor of a .safetensors file: a length, a header in JSON, and bytes."""
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > size - 8:
        raise ValueError("its header is longer than the file; it was cut off, or is damaged")
    try:
        header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        chosen = _one_of(list(header), name, file, "tensors")
        tensor = header[chosen]
        kind, shape, (first, last) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its header is damaged ({error})") from error
    if kind not in TENSOR_TYPES:
        raise ValueError(f"numbers of type {kind} are not known; save float32 or int64")
    dtype = np.dtype(TENSOR_TYPES[kind])
    _check_length(shape, dtype.itemsize, min(last, size - 8 - length) - first)
    stream.seek(8 + length + first)
    count = math.prod(shape)
    values = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count).reshape(shape)
    return Found(values, f", {chosen!r} of {file.name}")


def _one_of(names: list[str], name: str | None, file: Path, kind: str) -> str:
    """The array that is meant: the only one, or the one that is named."""
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    listed = ", ".join(map(repr, names)) or "none"
    example = names[0] if names else "name"
    got = "" if name is None else f" and no {name!r}"
    raise Unreadable(f"{file} holds the {kind} {listed}{got}; name one, as {file}:{example}.")


# --------------------------------------------------------------------------------------- text


def _text(file: Path, data: bytes) -> str:
    """Text in UTF-8, with or without a mark; in UTF-16, as spreadsheets write it, with one."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"line {line} is not UTF-8 (byte {data[error.start]:#x}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"it holds no text; the format must be {FORMATS}")
    return text


def _table(text: str, kind: str, name: str | None, what: str) -> list[Column]:
    """Text as columns: by lines alone, or by the separator that its first line has."""
    lines = re.split("\r\n|\r|\n", text.rstrip())
    if lines == [""]:
        return []
    if is_csv := kind in (".csv", ".tsv"):
        rows = _separated(lines, "\t" if kind == ".tsv" else _separator(lines[0]))
    elif what == "labels" and name is None:
        rows = [[_unquoted(line.strip())] for line in lines]
    else:
        rows = [re.split(r"[,;\s]\s*", line.strip()) for line in lines if line.strip()[:1] != "#"]
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise ValueError(f"line {number} has {len(row)} columns and line 1 has {width}")
    columns = list(zip(*rows, strict=True))
    if name in rows[0] or (is_csv and _has_header(columns)):
        return [Column(head.strip(), rest) for head, *rest in columns]
    return [Column(None, list(column)) for column in columns]


def _separated(lines: list[str], separator: str) -> list[list[str]]:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [[cell.strip() for cell in row] or [""] for row in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _unquoted(line: str) -> str:
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "'\""
    return line[1:-1] if quoted else line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _has_header(columns: list[Any]) -> bool:
    """Whether the first row names the columns: no number, nothing that comes again below it, and a
    word for labels, or numbers below."""
    heads = [column[0] for column in columns]
    if any(_is_number(head) or head in rest for head, *rest in columns if head):
        return False
    numbers = any(len(column) > 1 and all(map(_is_number, column[1:])) for column in columns)
    return numbers or any(head.lower() in LABEL_WORDS for head in heads)


# ------------------------------------------------------------------------------------ columns


def _values(column: Column) -> np.ndarray:
    """A column as it is, or of texts as integers where they all are."""
    values = column.values
    if isinstance(values, np.ndarray):
        return values
    given = {value for value in values if value and value.lower() != "nan"}
    if given and all(map(_is_number, given)):
        numbers = np.array([float(value) if value in given else np.nan for value in values])
        known = numbers[~np.isnan(numbers)]
        if len(set(known.tolist())) == len(given):  # "1" and "01" stay two classes
            return numbers
    return np.array(["" if value.lower() == "nan" else value for value in values])


def _counts(column: Column) -> bool:
    """Whether a column counts the rows, from 0 or 1."""
    values = _values(column)
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        return False
    return any(np.array_equal(values, np.arange(len(values)) + start) for start in (0, 1))


def _label_column(columns: list[Column], path: Any) -> tuple[Column, str]:
    """The column of labels, and what was left out beside it."""
    left = columns
    if len(columns) > 1:
        left = [column for column in columns if not (_is_index(column) and _counts(column))]
    if len(left) > 1:
        left = [column for column in left if (column.header or "").lower() in LABEL_WORDS] or left
    if len(left) == 1:
        header = "" if left[0].header is None else f", column {left[0].header!r}"
        return left[0], header
    example = len(columns) - 1 if columns[-1].header is None else columns[-1].header
    raise ValueError(
        f"{path} has the columns {_listed(columns)}; name the one with the labels, as "
        f"{path}:{example}."
    )


def _is_index(column: Column) -> bool:
    return column.header is None or column.header.lower() in INDEX_WORDS


def _by_name(columns: list[Column], name: str, file: Path) -> Column:
    """A column by its header, or by its place where there are none."""
    for place, column in enumerate(columns):
        if name in (column.header, str(place) if column.header is None else None):
            return column
    raise Unreadable(f"{file} has the columns {_listed(columns)} and no {name!r}.")


def _listed(columns: list[Column]) -> str:
    """The columns by their headers, or by their places and what they begin with."""
    return ", ".join(
        repr(column.header) if column.header is not None else f"{place} ({column.values[0]!r}, …)"
        for place, column in enumerate(columns)
    )


def _matrix(columns: list[Column], path: Any) -> Found:
    """The columns of numbers as embeddings, one a row; an index is left out."""
    words = ""
    if not columns:
        raise ValueError(f"{path} holds no embeddings.")
    if len(columns) > 1 and _is_index(columns[0]) and _counts(columns[0]):
        columns, words = columns[1:], ", the first column left out, which counts the rows"
    found = [_numbers(column, place, path) for place, column in enumerate(columns)]
    array = found[0] if len(found) == 1 and found[0].ndim > 1 else np.stack(found, axis=1)
    return Found(array, words)


def _numbers(column: Column, place: int, path: Any) -> np.ndarray:
    """A column of numbers, or of lists of numbers of one length."""
    head = place if column.header is None else repr(column.header)
    first = 1 if column.header is None else 2
    if isinstance(column.values, np.ndarray):
        if column.values.dtype == object:
            try:
                return np.stack(column.values.tolist()).astype(np.float64)
            except (TypeError, ValueError):
                pass
        elif column.values.dtype.kind in "biuf":
            return column.values
        raise ValueError(f"column {head} of {path} holds no numbers; leave it out.")
    for row, value in enumerate(column.values):
        if not _is_number(value):
            raise ValueError(
                f"column {head} of {path} holds {value!r} in line {row + first}, which is no "
                "number; keep numbers alone in it."
            )
    return np.array(column.values, np.float64)
