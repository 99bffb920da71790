"""The report is one page with the drawing inside, and nothing that the data say becomes HTML."""

from beacon_retraining.evaluation.report import page

PLOT = '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>\n'


def test_the_page_holds_verdict_plot_and_card_and_escapes_what_they_quote() -> None:
    verdict = "# Verdict\n\n| check | note |\n| --- | --- |\n| mae | <script>alert(1)</script> |\n"
    html = page("homes <1>: pass", verdict, PLOT, "# Card\n\n<img src=x> **B**, because\n")
    assert "<title>homes &lt;1&gt;: pass</title>" in html
    assert "<td>mae</td>" in html
    assert '<figure><svg viewBox="0 0 1 1">' in html
    assert "<?xml" not in html
    assert "<strong>B</strong>" in html
    assert "<script" not in html
    assert "<img" not in html
    assert html.index("<h1>Verdict</h1>") < html.index("<svg") < html.index("<h1>Card</h1>")
