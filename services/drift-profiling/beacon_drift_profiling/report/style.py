"""The report's HTML template and style: one self-contained page, light and dark, for screens and for paper."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #d9dfe6; --paper: #ffffff; --card: #f6f8fa;
  --known: #aab6c3; --seen: #1769aa; --bad: #b3261e; --warn: #b26a00; --good: #1b7f4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa7b5; --line: #33404d; --paper: #12181f;
  --card: #1a222b; --known: #56636f; --seen: #62b0ef; --bad: #ff8a80; --warn: #ffb74d; --good: #66cc99; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.1rem; color: var(--soft); font-weight: 600; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; display: flex; justify-content: space-between; gap: .5rem; }
.headline { font-size: 1.7rem; line-height: 1.2; font-weight: 650; margin: .4rem 0; }
.drift .headline { color: var(--warn); } .error .headline { color: var(--bad); } .ok .headline { color: var(--good); }
p { margin: .3rem 0; } .facts, article p { color: var(--soft); font-size: .88rem; }
section.messages { background: var(--card); border-radius: .6rem; padding: .4rem 1.2rem 1rem; margin-top: 1rem; }
section.messages:empty { display: none; }
section.messages h3 { margin-top: 1rem; } ul { padding-left: 1.2rem; margin: .5rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
article { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
article.confirmed { border-color: var(--bad); } article.drift { border-color: var(--warn); }
.tag { font-size: .75rem; font-weight: 600; color: var(--soft); } .confirmed .tag { color: var(--bad); }
article.drift .tag { color: var(--warn); }
svg { width: 100%; display: block; margin-top: .4rem; } svg text { font-size: 11px; fill: var(--soft); }
.known { fill: var(--known); } .seen { fill: var(--seen); } .axis { stroke: var(--line); }
.score { fill: none; stroke: var(--seen); stroke-width: 2; }
.limit { fill: none; stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 5 4; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
details summary { cursor: pointer; margin-top: 2rem; font-weight: 600; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; vertical-align: -.08rem; }
</style>
</head>
<body class="$state">
<h1>$title</h1>
<p class="headline">$headline</p>
<p class="facts">$facts</p>
<section class="messages">$messages</section>
<h2>Distributions, the worst first</h2>
<p class="facts legend"><i style="background:var(--known)"></i> training &nbsp;
<i style="background:var(--seen)"></i> now &nbsp; below each: its score over the runs, the threshold dashed</p>
<div class="cards">$cards</div>
<h2>Performance of the model</h2>
$figures
<details><summary>Every comparison</summary>$table</details>
$others
</body>
</html>
"""
