from __future__ import annotations

from sparkdl.report.html import table


def test_every_text_is_escaped() -> None:
    made = table("<b>", [["<script>", "a & b"]], ["<i>", "'\""])
    assert "<script>" not in made
    for text in ("&lt;b&gt;", "&lt;script&gt;", "a &amp; b", "&lt;i&gt;", "&#x27;&quot;"):
        assert text in made


def test_a_table_has_a_head_and_rows_that_stand_out() -> None:
    made = table("", [["1", "2"], ["3", "4"]], ["x", "y"], bold=[1])
    assert made.count("<tr>") == 3
    assert [made.count(f">{text}</th>") for text in ("x", "y", "1", "3", "4")] == [1, 1, 0, 1, 1]
