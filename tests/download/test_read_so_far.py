"""A file that is read row by row: how far, and without a byte order mark."""

from __future__ import annotations

from pathlib import Path

from stages.download.read_so_far import ReadSoFar


def test_the_bytes_that_are_read_are_known(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"\xef\xbb\xbf" + b"x" * 1023 + b"\n" + (b"x" * 1023 + b"\n") * 3071)
    file = ReadSoFar(path)
    assert file.bytes == 0
    with file.open() as stream:
        assert len(next(stream)) == 1024
        assert 1024 <= file.bytes < 2 << 20  # some is read ahead
        rest = list(file.told(stream, what="read"))
    assert (len(rest), {len(line) for line in rest}) == (3071, {1024})
    assert file.bytes == 3072 * 1024 + 3


def test_line_ends_stay_where_a_table_needs_them(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"a\r\nb\r\n")
    with ReadSoFar(tmp_path / "rows").open(newline="") as stream:
        assert list(stream) == ["a\r\n", "b\r\n"]
