#include "bench/peers/tally.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

namespace waybill::peers {
namespace {

void write_latency(std::ostream& out, const cli::LatencyHistogram& latencies) {
  out << "{\"count\":" << latencies.count();
  if (latencies.count() > 0) {
    for (double percent : {50.0, 90.0, 99.0, 99.9}) {
      out << ",\"p" << percent << "_us\":" << latencies.percentile(percent).count() / 1000.0;
    }
    out << ",\"mean_us\":" << latencies.mean().count() / 1000.0
        << ",\"max_us\":" << latencies.longest().count() / 1000.0;
  }
  out << '}';
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

void Tally::start(const Load& load) {
  Time begin = Clock::now();
  window_ = {begin, begin + load.warm_up, begin + load.warm_up + load.duration};
}

void Tally::confirmed(Time due, Time now) {
  ++all_confirmed_;
  if (!window_.holds(now) && !window_.holds(due)) return;
  std::lock_guard lock(mutex_);
  if (window_.holds(now)) ++measured_confirmed_;
  if (window_.holds(due)) publish_.add(now - due);
}

void Tally::consumed(Time due, Time now) {
  ++all_consumed_;
  if (!window_.holds(now) && !window_.holds(due)) return;
  std::lock_guard lock(mutex_);
  if (window_.holds(now)) ++measured_consumed_;
  if (window_.holds(due)) end_to_end_.add(now - due);
}

void Tally::fail(const std::string& what) {
  std::lock_guard lock(mutex_);
  if (error_.empty()) error_ = what;
  failed_ = true;
}

int Tally::report(const Load& load) {
  std::uint64_t missing =
      load.consumes ? all_confirmed_ - std::min<std::uint64_t>(all_confirmed_, all_consumed_) : 0;
  std::string text = json(missing);
  if (load.result_file.empty()) {
    std::cout << text << '\n';
  } else {
    std::ofstream(load.result_file) << text << '\n';
  }
  if (!error_.empty()) std::fprintf(stderr, "failed: %s\n", error_.c_str());
  return error_.empty() && missing == 0 && all_refused_ == 0 ? 0 : 1;
}

std::string Tally::json(std::uint64_t missing) {
  std::lock_guard lock(mutex_);
  std::chrono::duration<double> measured = window_.until - window_.from;
  auto rate = [&](std::uint64_t count) { return static_cast<double>(count) / measured.count(); };
  std::ostringstream out;
  out.precision(10);
  out << "{\"measured_s\":" << measured.count()
      << ",\"published\":{\"per_second\":" << rate(measured_confirmed_)
      << ",\"confirmed\":" << measured_confirmed_ << ",\"refused\":" << all_refused_
      << ",\"latency\":";
  write_latency(out, publish_);
  out << "},\"consumed\":{\"per_second\":" << rate(measured_consumed_)
      << ",\"settled\":" << measured_consumed_ << ",\"latency\":";
  write_latency(out, end_to_end_);
  out << "},\"checked\":{\"confirmed\":" << all_confirmed_ << ",\"ended\":" << all_consumed_
      << ",\"redelivered\":" << all_redelivered_ << ",\"missing\":" << missing
      << "},\"client_cpu_s\":" << cpu_seconds() << '}';
  return out.str();
}

}  // namespace waybill::peers
