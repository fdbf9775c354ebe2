"""Formats the bench's results: tables in Markdown, pictures in SVG."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.limit.outcome import Outcome
from bench.limit.visits import CHANGE_AT

LEARNED_FROM = 20
Chosen = Callable[[Outcome], bool]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies; nan for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def table(outcomes: list[Outcome]) -> str:
    return "\n\n".join((_overruns(outcomes), _unused(outcomes), _learning(outcomes), _changes(outcomes)))


def _overruns(outcomes: list[Outcome]) -> str:
    lines = [
        "| Monta's limit | sessions | stopped at the limit | above the authorization | most above, EUR "
        "| Monta's limit alone: above | peer: above | peer: p95 above, EUR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for limit_mode, label in (
        ("on", "on"),
        ("off", "off (our watcher alone)"),
        ("late", "late (5 to 30 s)"),
        ("dark", "on, Monta does not answer for 15 min"),
        ("dark-off", "off, and Monta does not answer"),
    ):
        some = [o for o in outcomes if o.visit.point.limit_mode == limit_mode]
        forced = [o for o in some if o.forced]
        over = [o.over_minor for o in some if o.over_minor > HALF]
        alone = (
            [o for o in some if o.monta_limit_alone_over_minor > HALF]
            if limit_mode in ("on", "late", "dark")
            else []
        )
        peer = [o.peer_over_minor for o in forced]
        alone_text = "-" if limit_mode in ("off", "dark-off") else str(len(alone))
        lines.append(
            f"| {label} | {len(some)} | {len(forced)} | {len(over)} | {max(over, default=0) / 100:.2f} "
            f"| {alone_text} | {sum(p > HALF for p in peer)} | {quantile(peer, 0.95) / 100:.2f} |"
        )
    return "\n".join(lines)


HALF = 0.5
"""Half a minor unit, by rounding."""


def tight(outcome: Outcome) -> bool:
    """Monta's limit confirmed, an unshared charger, no idle-fee reserve."""
    visit = outcome.visit
    return (
        outcome.forced
        and visit.point.limit_mode == "on"
        and not visit.point.shared
        and visit.tariff_kind != "parking"
    )


def plain(outcome: Outcome) -> bool:
    return not outcome.visit.point.shared and outcome.visit.tariff_kind != "parking"


def _unused(outcomes: list[Outcome]) -> str:
    lines = [
        "| class | latency | sessions | unused: median % | p95 % | best with the same information: median % | p95 % "
        "| times the best (mean) | peer: median above or below % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, chosen in CLASSES.items():
        for latency, when in (("unknown", _unknown), ("learned", _learned)):
            some = [o for o in outcomes if o.forced and chosen(o) and when(o)]
            lines.append(f"| {label} | {latency} | {len(some)} | " + " | ".join(_figures(some)) + " |")
    return "\n".join(lines)


def _figures(some: list[Outcome]) -> list[str]:
    unused, ideal = [o.unused * 100 for o in some], [o.ideal_unused * 100 for o in some]
    mean = sum(unused) / sum(ideal) if sum(ideal) else float("nan")
    peer = [(o.peer_over_minor / o.visit.authorized_minor - o.peer_unused) * 100 for o in some]
    figures = [
        quantile(unused, 0.5),
        quantile(unused, 0.95),
        quantile(ideal, 0.5),
        quantile(ideal, 0.95),
        mean,
    ]
    return [f"{each:.2f}" for each in figures] + [f"{quantile(peer, 0.5):+.2f}"]


def _unknown(outcome: Outcome) -> bool:
    return outcome.visit.index in (None, 0)


def _learned(outcome: Outcome) -> bool:
    index = outcome.visit.index
    return (
        index is not None
        and index >= LEARNED_FROM - 5
        and not (outcome.visit.point.changes and index >= CHANGE_AT)
    )


def _within(outcome: Outcome, dc: bool, meter: str, least: int, most: int) -> bool:
    point, euros = outcome.visit.point, outcome.visit.authorized_minor / 100
    return point.dc == dc and point.meter == meter and least <= euros <= most


CLASSES: dict[str, Chosen] = {
    "AC, 5 to 50 EUR, 60 s": lambda o: tight(o) and _within(o, False, "60", 5, 50),
    "DC, 20 to 100 EUR, 60 s": lambda o: tight(o) and _within(o, True, "60", 20, 100),
    "DC, 5 to 20 EUR, 60 s": lambda o: tight(o) and _within(o, True, "60", 5, 20),
    "AC, 10 s": lambda o: tight(o) and _within(o, False, "10", 5, 150),
    "DC, 10 s": lambda o: tight(o) and _within(o, True, "10", 5, 150),
    "AC, 300 s": lambda o: tight(o) and _within(o, False, "300", 5, 150),
    "DC, 300 s": lambda o: tight(o) and _within(o, True, "300", 5, 150),
    "AC, 1 kWh steps": lambda o: tight(o) and _within(o, False, "kwh", 5, 150),
    "DC, 1 kWh steps": lambda o: tight(o) and _within(o, True, "kwh", 5, 150),
    "no limit at Monta (hardware bound), AC 60 s": lambda o: (
        plain(o) and o.visit.point.limit_mode == "off" and _within(o, False, "60", 5, 150)
    ),
    "no limit at Monta (hardware bound), DC 60 s": lambda o: (
        plain(o) and o.visit.point.limit_mode == "off" and _within(o, True, "60", 5, 150)
    ),
    "shared chargers, limit on": lambda o: o.visit.point.shared and o.visit.point.limit_mode == "on",
    "idle fee reserve": lambda o: o.visit.tariff_kind == "parking" and o.visit.point.limit_mode == "on",
}


def curve(outcomes: Iterable[Outcome]) -> list[tuple[int, float, float]]:
    """Median and mean unused share in %, by the number of earlier sessions."""
    by_index: dict[int, list[float]] = {}
    for outcome in outcomes:
        index = outcome.visit.index
        if index is not None and tight(outcome) and not outcome.visit.point.changes:
            by_index.setdefault(index, []).append(outcome.unused * 100)
    return [(i, quantile(each, 0.5), sum(each) / len(each)) for i, each in sorted(by_index.items())]


def _learning(outcomes: list[Outcome]) -> str:
    lines = ["| sessions before | unused: median % | mean % |", "|---|---|---|"]
    lines += [
        f"| {i} | {median:.3f} | {mean:.3f} |"
        for i, median, mean in curve(outcomes)
        if i in (0, 1, 2, 3, 5, 8, 12, 16, 20, 25)
    ]
    return "\n".join(lines)


def _changes(outcomes: list[Outcome]) -> str:
    """The assumed stop latency around its sudden change."""
    lines = [
        "| sessions after the change | latency s, median | assumed s, median | too short in |",
        "|---|---|---|---|",
    ]
    for index in range(CHANGE_AT - 1, CHANGE_AT + 4):
        some = [
            o
            for o in outcomes
            if o.visit.index == index and o.visit.point.changes and o.latency_bound_ms and tight(o)
        ]
        seen = [o.latency_ms / 1000 for o in some]
        assumed = [o.latency_bound_ms / 1000 for o in some]
        short = sum(o.latency_bound_ms < o.latency_ms for o in some)
        lines.append(
            f"| {index - CHANGE_AT} | {quantile(seen, 0.5):.1f} | {quantile(assumed, 0.5):.1f} | {short} of {len(some)} |"
        )
    return "\n".join(lines)


def pictures(outcomes: list[Outcome], folder: Path) -> list[Path]:
    """The learning curve, and the unused share of each class beside the best policy and the peer."""
    folder.mkdir(parents=True, exist_ok=True)
    learning = folder / "limit-learning.svg"
    learning.write_text(_learning_svg(curve(outcomes)), encoding="utf-8")
    spread = folder / "limit-unused.svg"
    spread.write_text(_spread_svg(outcomes), encoding="utf-8")
    return [learning, spread]


def _learning_svg(points: list[tuple[int, float, float]]) -> str:
    most = max((mean for _, _, mean in points), default=1) * 1.1
    width, height = 640, 280

    def path(which: int) -> str:
        return " ".join(
            f"{60 + p[0] * 22:.0f},{height - 40 - p[which] / most * (height - 70):.1f}" for p in points
        )

    ticks = "".join(
        f'<text x="{60 + i * 22}" y="{height - 22}" text-anchor="middle">{i}</text>' for i in range(0, 26, 5)
    ) + "".join(
        f'<text x="52" y="{height - 36 - share * (height - 70):.0f}" text-anchor="end">{most * share:.2f}</text>'
        for share in (0, 0.5, 1)
    )
    return _svg(
        width,
        height,
        f'<text x="60" y="18">Unused share of the authorization at a forced stop, %, by sessions seen before</text>{ticks}'
        f'<polyline points="{path(2)}" fill="none" stroke="#c2410c" stroke-width="2"/>'
        f'<polyline points="{path(1)}" fill="none" stroke="#1d4ed8" stroke-width="2"/>'
        f'<text x="{width - 20}" y="40" text-anchor="end" fill="#c2410c">mean</text>'
        f'<text x="{width - 20}" y="56" text-anchor="end" fill="#1d4ed8">median</text>',
    )


def _spread_svg(outcomes: list[Outcome]) -> str:
    rows, y = [], 50
    for label, chosen in CLASSES.items():
        for latency, when in (("unknown", _unknown), ("learned", _learned)):
            some = [o for o in outcomes if o.forced and chosen(o) and when(o)]
            if not some:
                continue
            unused, best = [o.unused * 100 for o in some], [o.ideal_unused * 100 for o in some]
            low, mid, high = (_x(quantile(unused, q)) for q in (0.05, 0.5, 0.95))
            rows.append(
                f'<text x="330" y="{y + 4}" text-anchor="end">{label}, {latency}</text>'
                f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="#1d4ed8" stroke-width="6" opacity=".45"/>'
                f'<circle cx="{mid}" cy="{y}" r="4" fill="#1d4ed8"/>'
                f'<path d="M{_x(quantile(best, 0.5))} {y - 6}v12" stroke="#15803d" stroke-width="2"/>'
            )
            y += 20
    axis = "".join(
        f'<text x="{_x(v)}" y="{y + 14}" text-anchor="middle">{v:g}</text>'
        f'<path d="M{_x(v)} 40V{y}" stroke="#d4d4d4"/>'
        for v in (0.01, 0.1, 1, 10, 50)
    )
    title = '<text x="20" y="18">Unused share at a forced stop, %: 5th to 95th percentile, median (dot); green: best with the same information</text>'
    return _svg(860, y + 24, title + axis + "".join(rows))


def _x(percent: float) -> float:
    """Logarithmic, from 0.01 % to 50 %."""
    from math import log10

    return round(350 + 480 * (log10(max(0.01, min(50.0, percent))) + 2) / 3.7, 1)


def _svg(width: int, height: int, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )
