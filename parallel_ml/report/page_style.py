"""The style of a report's page: light, dark, on a phone and on paper. The colours of charts are with the charts."""

from __future__ import annotations

PAGE_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2024;--muted:#5b6570;--rule:#e3e7eb;--rest:#b6bec6;--soft:#f5f7f9;
--good:#1a7f37;--bad:#c92a2a;--warn:#9a6700;--busy:#0b6bcb}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--muted:#9aa5b0;--rule:#2b3138;
--rest:#4a525b;--soft:#1c2126;--good:#57c271;--bad:#ff8787;--warn:#e0b341;--busy:#6cb6ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:84rem;padding:1.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
h1{font-size:1.6rem;margin:.2rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem;padding-bottom:.25rem;border-bottom:1px solid var(--rule)}
a{color:var(--busy)}nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.9rem}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
p{margin:.5rem 0;overflow-wrap:anywhere;max-width:70rem}p.lead{font-weight:600}
.scroll{overflow-x:auto;margin:.6rem 0}.scroll:focus-visible{outline:2px solid var(--busy)}
table{border-collapse:collapse;width:max-content;min-width:min(100%,20rem);font-size:.9rem;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:.3rem .65rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
td,tbody th{overflow-wrap:anywhere;max-width:34rem}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom;max-width:14rem;overflow-wrap:break-word}
tbody th{font-weight:500;min-width:6rem;max-width:14rem}th:first-child{position:sticky;left:0;background:var(--paper)}
.number{text-align:right;white-space:nowrap}
tr.best>*{background:var(--soft);font-weight:600}tr.best>th:first-child::after{content:" \\2605";color:var(--warn)}
.state{white-space:nowrap}.state::before{content:"\\25CF";margin-right:.4em;color:var(--muted)}
.completed::before{color:var(--good)}.failed::before{color:var(--bad)}.running::before,.starting::before{color:var(--busy)}
.retrying::before,.stopping::before,.stopped::before,.paused::before{color:var(--warn)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:.6rem 0;font-size:.93rem}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1.2rem 1.6rem;
margin:.8rem 0}
.few{grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr))}
figure{margin:0;min-width:0}figure.wide{grid-column:1/-1}
figcaption{font-weight:600;margin-bottom:.3rem;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;margin:.5rem 0;padding:0;font-size:.88rem}
.legend li{overflow-wrap:anywhere}.legend svg{margin-right:.35em}
details{font-size:.88rem;margin-top:.3rem}summary{cursor:pointer;color:var(--muted)}
pre{background:var(--soft);border-left:3px solid var(--rule);padding:.7rem .9rem;overflow-x:auto;font-size:.85rem;
margin:.3rem 0}
@media (max-width:40rem){body{padding:1rem .8rem 3rem}dl{grid-template-columns:1fr}dt{margin-top:.3rem}}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:10pt}nav,.skip,details{display:none}
.scroll{overflow:visible}table{width:100%;font-size:7pt}th,td{padding:.15rem .3rem}
tbody th{min-width:0;overflow-wrap:break-word}th:first-child{position:static}.charts{grid-template-columns:1fr 1fr}
h2{break-after:avoid}figure,tr,pre{break-inside:avoid}thead{display:table-header-group}pre{white-space:pre-wrap}
svg,tr.best>*{print-color-adjust:exact;-webkit-print-color-adjust:exact}a{color:inherit;text-decoration:none}}
"""
