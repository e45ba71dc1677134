"""Medians of the rounds of bench/peers/run, as tables for people."""

import statistics

FIRST = "waybill"


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def rate_text(value):
    return "-" if value is None else f"{value:,.0f}"


def time_text(us):
    if us is None:
        return "-"
    if us < 1000:
        return f"{us:.0f} us"
    return f"{us / 1000:.2f} ms" if us < 1e6 else f"{us / 1e6:.2f} s"


def ratio_text(value, first):
    return "-" if value is None or not first else f"{value / first:.3g}"


def summary(runs):
    """The runs of one server in one scenario, as medians."""
    done = [run for run in runs if "rate" in run]
    keys = ("rate", "p50_us", "p99_us", "server_cpu_s_per_million", "client_cpu_s_per_million",
            "flushes_per_confirm")
    result = {key: median([run[key] for run in done]) for key in keys}
    result["spread"] = ((min(run["rate"] for run in done), max(run["rate"] for run in done))
                        if done else None)
    result["done"], result["tried"] = len(done), len(runs)
    return result


def cells(server, medians, first):
    spread = medians["spread"]
    cpu = [medians["server_cpu_s_per_million"], medians["client_cpu_s_per_million"]]
    row = [
        server.name, rate_text(medians["rate"]),
        f"{rate_text(spread[0])} - {rate_text(spread[1])}" if spread else "-",
        ratio_text(medians["rate"], first["rate"]), time_text(medians["p50_us"]),
        time_text(medians["p99_us"]), ratio_text(medians["p99_us"], first["p99_us"]),
        " + ".join("-" if value is None else f"{value:.2g}" for value in cpu), server.synced]
    if medians["done"] < medians["tried"]:
        row[-1] += f"; failed in {medians['tried'] - medians['done']} of {medians['tried']} rounds"
    return row


def render(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def table(scenario, servers, runs):
    """One scenario; `runs` are those of all scenarios."""
    here = [run for run in runs if run["scenario"] == scenario["name"]]
    medians = {server.name: summary([run for run in here if run["server"] == server.name])
               for server in servers}
    first = medians.get(FIRST, summary([]))
    rows = [["server", "messages/s", "least - most", "of waybill's", "p50", "p99",
             "of waybill's", "CPU s per million, server + driver", "synced before confirmed"]]
    rows += [cells(server, medians[server.name], first) for server in servers
             if medians[server.name]["tried"]]
    return f"### {scenario['title']}\n\n{render(rows)}\n"


def overview(scenarios, servers, runs):
    """All scenarios at once: a line for each server, then the latencies where the load is bounded."""
    rates = [["messages/s", *(s["name"] for s in scenarios if "rate" not in s), "synced"]]
    bounded = [s for s in scenarios if "publishers" in s]
    latencies = [["p50 / p99", *(s["name"] for s in bounded), "synced"]]
    for server in servers:
        medians = {s["name"]: summary([run for run in runs if run["scenario"] == s["name"]
                                       and run["server"] == server.name]) for s in scenarios}
        rates.append([server.name, *(rate_text(medians[name]["rate"]) for name in rates[0][1:-1]),
                      server.synced])
        latencies.append([server.name, *(
            f"{time_text(medians[name]['p50_us'])} / {time_text(medians[name]['p99_us'])}"
            for name in latencies[0][1:-1]), server.synced])
    return "\n\n".join(render(rows) for rows in (rates, latencies) if len(rows[0]) > 2)
