"""The report of a retraining: the verdict, its plot and the model card as one page that needs nothing else."""

import re
from html import escape

from markdown_it import MarkdownIt

from beacon_core.model_package.manifest import EFFECTS_FILE

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8885; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem 1.5rem 3rem; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin-top: 2rem; }}
h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
p, ul {{ max-width: 50rem; }}
table {{ border-collapse: collapse; display: block; margin: 1rem 0; overflow-x: auto; }}
th, td {{ border-bottom: 1px solid var(--line); padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; }}
td {{ font-variant-numeric: tabular-nums; }}
td:first-child {{ min-width: 9rem; }}
td:not(:first-child) {{ white-space: nowrap; }}
code {{ overflow-wrap: anywhere; }}
figure {{ background: #fff; margin: 1.5rem 0; max-width: 50rem; }}
figure svg {{ display: block; height: auto; width: 100%; }}
</style>
</head>
<body>
{verdict}
<figure>{plot}</figure>
{card}
</body>
</html>
"""


CARDS_PICTURE = re.compile(rf'<p><img src="{EFFECTS_FILE}"[^>]*></p>')


def page(title: str, verdict: str, plot: str, card: str, effects: str = "") -> str:
    """HTML of the two Markdown texts and the SVG file between them; `effects` is the SVG that the card shows, or ""."""
    # Without HTML of their own: names and notes in them come from data.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    shown = markdown.render(card)
    if effects:
        shown = CARDS_PICTURE.sub(lambda _: f"<figure>{_drawing(effects)}</figure>", shown)
    return PAGE.format(title=escape(title), verdict=markdown.render(verdict), plot=_drawing(plot), card=shown)


def _drawing(svg: str) -> str:
    return svg[svg.index("<svg") :]
