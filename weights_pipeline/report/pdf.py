"""How a page becomes a PDF: the same HTML, laid out on paper, the same bytes for the same report on every machine.

Scope: one call of a library that lays pages out in its own process and needs nothing installed beside it. Not here:
what the page says, and its rules for print (``templates``).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from weights_pipeline.extras import need
from weights_pipeline.report.render import render

if TYPE_CHECKING:
    from weights_pipeline.report.facts import Report

_FONTS = {"DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf"}
"""Come with Matplotlib: a machine without fonts prints the same as any other."""


def render_pdf(report: Report) -> bytes:
    """A report as a PDF; raises :class:`MissingExtraError` where nothing can draw its figures or lay them out."""
    need("plutoprint", "a PDF")
    page = render(report, printed=True)
    import matplotlib
    import plutoprint

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

    class Fonts(plutoprint.ResourceFetcher):
        """The fonts of the page, and nothing else: no file and no address that a text in it may name."""

        def fetch_url(self, url: str) -> plutoprint.ResourceData:
            name = url.rpartition("/")[2]
            if url != f"font:/{name}" or name not in _FONTS:
                raise ValueError(f"{url}: a report needs nothing from outside")
            return plutoprint.ResourceData((fonts / name).read_bytes(), "font/ttf", "")

    book = plutoprint.Book(plutoprint.PAGE_SIZE_A4)
    book.custom_resource_fetcher = Fonts()
    # A name may be broken where the page says so; the library knows the character, not the element.
    book.load_html(page.replace("<wbr>", "\N{ZERO WIDTH SPACE}"), base_url="font:/")
    # Otherwise the instant of the printing: what the weights were known at is the report's own.
    book.set_metadata(plutoprint.PDF_METADATA_CREATION_DATE, _known(report))
    buffer = io.BytesIO()
    book.write_to_pdf_stream(buffer)
    return buffer.getvalue()


def _known(report: Report) -> str:
    """When the newest version was recorded; the beginning of time where there is none."""
    known = report.known
    return f"{known:%Y-%m-%dT%H:%M:%SZ}" if known == known else "1970-01-01T00:00:00Z"
