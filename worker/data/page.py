"""The preflight report as one HTML page with its pictures inside it.

Knows the report's values and nothing of how they were found. No scripts, no files beside it.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.data.preflight import PreflightReport

WIDTH, HEIGHT = 640, 180
TRACE_HEIGHT = 34
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1a202c; }
table { border-collapse: collapse; width: 100%; font-size: 13px; } td, th { text-align: left; padding: 3px 10px 3px 0;
vertical-align: top; border-bottom: 1px solid #e2e8f0; } svg { width: 100%; height: auto; background: #f7fafc; }
.failed { color: #b42318; } .excluded { color: #8a6100; } .kept { color: #17693c; } .note { color: #4a5568; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } figcaption { font-size: 13px; color: #4a5568; }
figure { margin: 0; } .warning { background: #fff4d6; padding: .5rem 1rem; }
"""


def render(report: "PreflightReport") -> str:
    counts = report.counts
    return "".join(
        (
            "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
            f"<title>Preflight</title><style>{STYLE}</style><h1>Preflight</h1>",
            f"<p>{counts['recordings']} recordings: {counts['kept']} kept, {counts['failed']} failed, "
            f"{counts['excluded']} excluded. {counts['subjects']} subjects, {counts['windows']} windows.</p>",
            *(f"<p class='warning'>{escape(warning)}</p>" for warning in report.warnings),
            "<div class='figures'>",
            _target(report.target),
            _channel_sds(report.channels),
            _trials(report),
            _preview(report.preview),
            "</div>",
            _findings(report.findings),
            _recordings(report.recordings),
            "</html>",
        )
    )


def _target(target: dict[str, Any]) -> str:
    if not target.get("n"):
        return _figure("", "no target: no window is left")
    histogram = target["histogram"]
    caption = (
        f"{target['name']}: {target['n']} windows, mean {target['mean']:.3f}, standard deviation {target['sd']:.3f}, "
        f"{target['min']:.3f} to {target['max']:.3f}"
    )
    labels = (f"{histogram['edges'][0]:.2f}", f"{histogram['edges'][-1]:.2f}")
    return _figure(_bars(histogram["counts"], labels, "#2b6cb0"), caption)


def _channel_sds(channels: dict[str, Any]) -> str:
    sds = channels.get("median_sd_uv", [])
    if not sds:
        return ""
    caption = f"Standard deviation by channel, uV (median over recordings); highest {max(sds):.1f}"
    return _figure(_bars(sds, ("first channel", "last"), "#2f855a"), caption)


def _trials(report: "PreflightReport") -> str:
    kept = report.counts["windows"]
    rows = [("kept", kept, "#2f855a"), *((why, n, "#c05621") for why, n in report.trial_drops.items())]
    if not report.counts["trials"]:
        return ""
    largest = max(n for _, n, _ in rows) or 1
    shapes = "".join(
        f"<rect x='0' y='{i * 26}' width='{n / largest * WIDTH * 0.5:.1f}' height='18' fill='{colour}'/>"
        f"<text x='{n / largest * WIDTH * 0.5 + 6:.1f}' y='{i * 26 + 14}' font-size='13'>{n} {escape(why)}</text>"
        for i, (why, n, colour) in enumerate(rows)
    )
    return _figure(_svg(shapes, 26 * len(rows)), f"Trials: {report.counts['trials']} in the kept recordings")


def _preview(preview: dict[str, Any]) -> str:
    if not preview:
        return ""
    signal, n = preview["signal"], len(preview["signal"][0])
    span = max(max(map(abs, trace)) for trace in signal) or 1
    shapes = ""
    for i, (name, trace) in enumerate(zip(preview["ch_names"], signal, strict=True)):
        middle = TRACE_HEIGHT * (i + 0.5)
        points = " ".join(
            f"{40 + x * (WIDTH - 40) / max(n - 1, 1):.1f},{middle - y / span * TRACE_HEIGHT:.1f}"
            for x, y in enumerate(trace)
        )
        shapes += f"<polyline points='{points}' fill='none' stroke='#2d3748' stroke-width='1'/>"
        shapes += f"<text x='0' y='{middle + 4:.0f}' font-size='12'>{escape(name)}</text>"
    caption = (
        f"A window: {preview['recording']} at {preview['onset_s']:.2f} s, {n / preview['sfreq']:.2f} s long, "
        f"target {preview['target']:.3f}; full scale {span:.0f}"
    )
    return _figure(_svg(shapes, TRACE_HEIGHT * len(signal)), caption)


def _findings(findings: dict[str, dict[str, int]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(check)}</td><td class='{severity}'>{severity}</td><td>{n}</td></tr>"
        for check, counts in findings.items()
        for severity, n in counts.items()
    )
    return f"<h2>Findings</h2><table><tr><th>check</th><th>severity</th><th>recordings</th></tr>{rows}</table>"


def _recordings(recordings: Sequence[dict[str, Any]]) -> str:
    """The bad ones first."""
    order = {"failed": 0, "excluded": 1, "kept": 2}
    rows = "".join(
        f"<tr><td>{escape(row['name'])}</td><td class='{row['status']}'>{row['status']}</td><td>{row['trials']}</td>"
        f"<td>{row['windows']}</td><td>{'<br>'.join(_finding(finding) for finding in row['findings'])}</td></tr>"
        for row in sorted(recordings, key=lambda row: order[row["status"]])
    )
    head = "<tr><th>recording</th><th></th><th>trials</th><th>windows</th><th>findings</th></tr>"
    return f"<h2>Recordings</h2><table>{head}{rows}</table>"


def _finding(finding: dict[str, Any]) -> str:
    parts = [finding["message"], finding.get("event"), finding.get("remedy")]
    return f"<span class='{finding['severity']}'>{escape('; '.join(part for part in parts if part))}</span>"


def _bars(values: Sequence[float], labels: tuple[str, str], colour: str) -> str:
    width, largest = WIDTH / len(values), max(values) or 1
    shapes = "".join(
        f"<rect x='{i * width:.1f}' y='{HEIGHT - value / largest * HEIGHT:.1f}' width='{width * 0.9:.1f}' "
        f"height='{value / largest * HEIGHT:.1f}' fill='{colour}'/>"
        for i, value in enumerate(values)
    )
    shapes += f"<text x='0' y='{HEIGHT + 15}' font-size='12'>{escape(labels[0])}</text>"
    shapes += f"<text x='{WIDTH}' y='{HEIGHT + 15}' font-size='12' text-anchor='end'>{escape(labels[1])}</text>"
    return _svg(shapes, HEIGHT + 20)


def _svg(shapes: str, height: float) -> str:
    return f"<svg viewBox='0 0 {WIDTH} {height:.0f}' role='img'>{shapes}</svg>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"
