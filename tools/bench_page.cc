// The result of a load test as one HTML page that needs nothing else: the text, two charts drawn as
// SVG here, and the JSON with every parameter.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/bench.h"
#include "tools/escape.h"

namespace waybill::cli {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 300;
constexpr double kLeft = 80;
constexpr double kBottom = 40;
constexpr double kTop = 20;
/// Points of a line; more are not seen at this size.
constexpr std::size_t kMostPoints = 400;

struct Point {
  double x = 0;
  double y = 0;
};
struct Line {
  std::string name;
  std::string colour;
  std::vector<Point> points;
};
struct Mark {
  double at = 0;
  std::string text;
};
struct Axes {
  std::string title;
  std::vector<Mark> x;
  std::vector<Mark> y;
};

std::string html_text(std::string_view text) {
  std::string safe;
  for (char c : escaped_text(text)) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

/// 1, 2 or 5 times a power of ten, so that about `count` of them reach `largest`.
double step_for(double largest, int count) {
  double rough = std::max(largest, 1e-9) / count;
  double power = std::pow(10, std::floor(std::log10(rough)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

/// At least two: an axis of nothing would divide by it.
std::vector<Mark> even_marks(double largest) {
  std::vector<Mark> marks;
  if (largest <= 0) largest = 1;
  double step = step_for(largest, 5);
  for (double at = 0; at < largest + step; at += step) {
    marks.push_back({at, fmt::format("{:g}", at)});
  }
  return marks;
}

/// Requires marks from 0 on; they say how far each axis reaches.
std::string chart(const Axes& axes, const std::vector<Line>& lines) {
  double right = axes.x.back().at;
  double highest = axes.y.back().at;
  auto x_of = [&](double x) { return kLeft + x / right * (kWidth - kLeft - 20); };
  auto y_of = [&](double y) {
    return kHeight - kBottom - y / highest * (kHeight - kBottom - kTop);
  };
  std::string svg = fmt::format("<h2>{}</h2>\n<svg viewBox=\"0 0 {} {}\" role=\"img\">\n",
                                html_text(axes.title), kWidth, kHeight);
  for (const Mark& mark : axes.y) {
    svg += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" class=\"g\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
        kLeft, kWidth - 20, y_of(mark.at), kLeft - 8, y_of(mark.at) + 4, mark.text);
  }
  for (const Mark& mark : axes.x) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                       x_of(mark.at), kHeight - kBottom + 20, mark.text);
  }
  double legend = kLeft + 10;
  for (const Line& line : lines) {
    std::string path;
    std::size_t stride = std::max<std::size_t>(1, line.points.size() / kMostPoints);
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      if (i % stride != 0 && i + 1 < line.points.size()) continue;  // the last one is the longest
      path += fmt::format("{:.1f},{:.1f} ", x_of(std::min(line.points[i].x, right)),
                          y_of(std::min(line.points[i].y, highest)));
    }
    svg += fmt::format("<polyline points=\"{}\" style=\"stroke:{}\"/>\n", path, line.colour);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" style=\"fill:{}\">{}</text>\n", legend, kTop + 4,
                       line.colour, html_text(line.name));
    legend += 130;
  }
  return svg + "</svg>\n";
}

/// "0", "90", "99", "99.9", …: the percentile that this power of ten of messages tells of.
std::string percentile_mark(int power) {
  if (power < 2) return power == 0 ? "0" : "90";
  return power == 2 ? "99" : "99." + std::string(static_cast<std::size_t>(power - 2), '9');
}

/// Over 1/(1-p), in powers of ten: the tail gets the room that it deserves. The longest of n stands
/// where one of n lies beyond.
std::string latency_chart(const BenchResult& result) {
  double most = 0;
  double widest = 1;
  auto line = [&](std::string name, std::string colour, const LatencyHistogram& latencies) {
    Line drawn{std::move(name), std::move(colour), {}};
    double last = std::log10(static_cast<double>(latencies.count()));
    for (const LatencyHistogram::Step& step : latencies.steps()) {
      double ms = static_cast<double>(step.upto.count()) / 1e6;
      if (drawn.points.empty()) drawn.points.push_back({0, ms});
      drawn.points.push_back({step.below < 1 ? -std::log10(1 - step.below) : last, ms});
      most = std::max(most, ms);
    }
    widest = std::max(widest, last);
    return drawn;
  };
  std::vector<Line> lines;
  if (result.publish.count() > 0) lines.push_back(line("durable", "#1b6ac9", result.publish));
  if (result.end_to_end.count() > 0) {
    lines.push_back(line("delivered", "#c2541a", result.end_to_end));
  }
  if (lines.empty()) return {};
  Axes axes{"Latency in milliseconds, by percentile", {}, even_marks(most)};
  for (int power = 0; power < std::ceil(widest) + 1; ++power) {
    axes.x.push_back({static_cast<double>(power), percentile_mark(power)});
  }
  return chart(axes, lines);
}

std::string rate_chart(const BenchResult& result) {
  Line confirmed{"confirmed", "#1b6ac9", {}};
  Line consumed{"consumed", "#c2541a", {}};
  double most = 0;
  // Each point is the mean of the second before it.
  for (std::size_t i = 10; i < result.samples.size(); ++i) {
    const BenchSample& from = result.samples[i - 10];
    const BenchSample& to = result.samples[i];
    double seconds = std::chrono::duration<double>(to.elapsed - from.elapsed).count();
    if (seconds <= 0) continue;
    double at = std::chrono::duration<double>(to.elapsed).count();
    double in = static_cast<double>(to.confirmed - from.confirmed) / seconds;
    double out = static_cast<double>(to.settled - from.settled) / seconds;
    confirmed.points.push_back({at, in});
    consumed.points.push_back({at, out});
    most = std::max({most, in, out});
  }
  if (confirmed.points.size() < 2) return {};
  std::vector<Line> lines{std::move(confirmed)};
  if (result.all_ended > 0) lines.push_back(std::move(consumed));
  Axes axes{"Messages per second, over the seconds of the run",
            even_marks(lines.front().points.back().x), even_marks(most)};
  return chart(axes, lines);
}

}  // namespace

std::string bench_page(const Bench& bench, const BenchResult& result,
                       const BenchEnvironment& environment) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<title>waybill bench</title>\n<style>"
         "body{font:15px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
         "pre{overflow-x:auto;background:#f4f4f2;padding:1rem}svg{width:100%}"
         "svg text{font-size:12px;fill:#444}polyline{fill:none;stroke-width:2;stroke-linecap:round}"
         ".g{stroke:#ddd}</style></head><body>\n<h1>waybill bench</h1>\n<pre>" +
         html_text(bench_text(bench, result, environment)) + "</pre>\n" + latency_chart(result) +
         rate_chart(result) + "<h2>Everything</h2>\n<pre style=\"white-space:pre-wrap\">" +
         html_text(bench_json(bench, result, environment)) + "</pre>\n</body></html>\n";
}

}  // namespace waybill::cli
