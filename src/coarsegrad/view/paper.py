"""Paper: how a page looks, the script that sorts its tables, and what it may load (nothing)."""

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)

STYLE = """
:root{--paper:#f6f7f9;--card:#fff;--ink:#1c2330;--muted:#566070;--line:#dfe3e9;--link:#0060a8;--code:#eef1f5;
--n0:#0072b2;--n1:#00805f;--n2:#9a6700;--n3:#7a4fbf;--n4:#6b7482}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0f1217;--card:#171b22;--ink:#e8eaee;
--muted:#a5aebb;--line:#2b323d;--link:#79bdf0;--code:#1f252e;--n0:#56b4e9;--n1:#1fc79a;--n2:#f0b429;--n3:#bda2f0;--n4:#a5aebb}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.6;
font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif}
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.25;margin:0 0 1.25rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.3;margin:2.75rem 0 .75rem;padding-top:1.25rem;
border-top:1px solid var(--line)}
h3{font-size:1.08rem;margin:1.75rem 0 .5rem}
p,ul,aside{max-width:46rem}
p{margin:.75rem 0}
p,li,td,dd{overflow-wrap:break-word}
a{color:var(--link)}
nav{margin:0 0 1.5rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;margin:0;padding:0;max-width:none}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
code{font:.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;
background:var(--code);padding:.1em .3em;border-radius:4px}
pre{background:var(--code);border:1px solid var(--line);border-radius:8px;padding:.9rem 1rem;overflow-x:auto}
pre code{background:none;padding:0}
.scroll{overflow-x:auto}
div.scroll:has(table){background:var(--card);border:1px solid var(--line);border-radius:8px;margin:1.25rem 0;
width:fit-content;max-width:100%}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{caption-side:top;text-align:left;color:var(--muted);padding:.75rem .9rem .35rem}
th,td{padding:.45rem .9rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
td{max-width:30rem}
th{font-weight:600;color:var(--muted);white-space:nowrap;vertical-align:bottom}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;white-space:nowrap}
.none{color:var(--muted);font-style:italic}
th button{all:unset;cursor:pointer;font:inherit;color:inherit}
th button:hover{color:var(--ink)}
th button:focus-visible{outline:2px solid var(--link);outline-offset:3px;border-radius:2px}
th button::after{content:"\\2195";opacity:.35;margin-left:.35em;font-size:.85em}
th[aria-sort=ascending] button::after{content:"\\2191";opacity:1}
th[aria-sort=descending] button::after{content:"\\2193";opacity:1}
.figures{display:grid;gap:1.25rem;margin:1.25rem 0;
grid-template-columns:repeat(auto-fit,minmax(min(100%,max(19rem,100%/(var(--columns) + .5))),1fr));
align-items:start}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden;
max-width:52rem;break-inside:avoid}
figure svg{display:block;width:100%;height:auto}
figcaption{color:var(--muted);font-size:.85rem;padding:.25rem 1rem .9rem}
.note{--n:var(--n4);border:1px solid var(--line);border-left:4px solid var(--n);border-radius:0 8px 8px 0;
background:var(--card);padding:.8rem 1.1rem;margin:1.25rem 0;break-inside:avoid}
.note p{margin:.25rem 0 0}
.note0{--n:var(--n0)}.note1{--n:var(--n1)}.note2{--n:var(--n2)}.note3{--n:var(--n3)}
.label{color:var(--n);font-size:.78rem;letter-spacing:.05em;text-transform:uppercase}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr));gap:.9rem 1.5rem;
margin:1.25rem 0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem 1.1rem}
dt{color:var(--muted);font-size:.82rem}dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
@media (max-width:34rem){figure svg{min-width:27rem}}
@media print{body{background:#fff;font-size:10.5pt}main{max-width:none;padding:0}nav{display:none}
th button::after{content:""}h2,h3{break-after:avoid}tr,figure,.note{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}figure svg{min-width:0}pre{white-space:pre-wrap}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const number = text => ({inf: Infinity, "-inf": -Infinity, nan: NaN})[text] ?? Number(text);
      const key = row => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : number(cell.dataset.value);
      };
      const blank = k => k === "–" || Number.isNaN(k);
      const order = (a, b) => {
        if (blank(a) || blank(b)) return blank(a) - blank(b);
        const side = typeof a === "number" && typeof b === "number" ? a - b || (a === b ? 0 : a < b ? -1 : 1)
          : String(a).localeCompare(String(b), undefined, {numeric: true});
        return up ? side : -side;
      };
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort((a, b) => order(a[0], b[0]));
      body.append(...rows.map(pair => pair[1]));
    });
  });
}
"""
