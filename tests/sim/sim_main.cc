// wb_sim: runs seeds of the simulation.
//
//   wb_sim --seed N [--trace]     one seed, as often as needed to explain what it finds
//   wb_sim --seeds A..B           a range
//   wb_sim --minutes M [--from A] as many as fit; fails too if a state was never reached
//   wb_mutants --mutants          the names of the mutants, and how many seeds each may take
//   wb_mutants --mutant NAME      its seeds, until it is caught
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/base/mutant.h"
#include "tests/sim/mutants.h"
#include "tests/sim/simulation.h"

namespace waybill {
namespace {

struct Options {
  std::uint64_t first = 1;
  std::uint64_t last = 1;
  double minutes = 0;
  bool trace = false;
  bool list_mutants = false;
  std::string mutant;
  bool valid = true;
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    std::string_view name = arguments[i];
    if (name == "--trace") {
      options.trace = true;
      continue;
    }
    if (name == "--mutants") {
      options.list_mutants = true;
      continue;
    }
    if (i + 1 == count) {
      options.valid = false;
      break;
    }
    std::string value = arguments[++i];
    if (name == "--seed") {
      options.first = options.last = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "--seeds") {
      std::size_t dots = value.find("..");
      options.first = std::strtoull(value.c_str(), nullptr, 10);
      options.last = dots == std::string::npos
                         ? options.first
                         : std::strtoull(value.c_str() + dots + 2, nullptr, 10);
    } else if (name == "--minutes") {
      options.minutes = std::strtod(value.c_str(), nullptr);
    } else if (name == "--from") {
      options.first = options.last = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "--mutant") {
      options.mutant = value;
    } else {
      options.valid = false;
    }
  }
  return options;
}

struct Totals {
  std::uint64_t seeds = 0;
  std::uint64_t messages = 0;
  std::uint64_t faults = 0;
  std::uint64_t events = 0;
  double virtual_hours = 0;
  Coverage coverage;

  void add(const SimResult& result) {
    ++seeds;
    messages += result.messages;
    faults += result.faults;
    events += result.events;
    virtual_hours += static_cast<double>(result.virtual_time.count()) / 3.6e12;
    coverage.add(result.coverage);
  }
};

void print(const Totals& totals, double minutes) {
  std::printf("%s", totals.coverage.table().c_str());
  std::printf("%llu seeds, %llu messages, %llu faults, %llu events, %.1f virtual hours\n",
              static_cast<unsigned long long>(totals.seeds),
              static_cast<unsigned long long>(totals.messages),
              static_cast<unsigned long long>(totals.faults),
              static_cast<unsigned long long>(totals.events), totals.virtual_hours);
  double hours = minutes / 60;
  std::printf(
      "an hour of such a run: %.0f seeds, each twice; %.0f messages, %.0f faults, %.0f "
      "virtual hours\n",
      static_cast<double>(totals.seeds) / hours, static_cast<double>(totals.messages) / hours,
      static_cast<double>(totals.faults) / hours, totals.virtual_hours / hours);
}

int run_traced(std::uint64_t seed) {
  SimResult result = simulate(seed, {.all = true});
  for (const std::string& line : result.lines) std::printf("%s\n", line.c_str());
  if (result.finding)
    std::printf("%s: %s\n", result.finding->property.c_str(), result.finding->what.c_str());
  return result.finding ? 1 : 0;
}

int run_seeds(const Options& options) {
  auto begin = std::chrono::steady_clock::now();
  auto passed = [begin] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 60;
  };
  bool timed = options.minutes > 0;
  Totals totals;
  for (std::uint64_t seed = options.first;
       timed ? passed() < options.minutes : seed <= options.last; ++seed) {
    SimResult result = simulate_twice(seed);
    totals.add(result);
    if (!result.finding) continue;
    std::printf("%s", report(result).c_str());
    return 1;
  }
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(options.first),
              static_cast<unsigned long long>(options.first + totals.seeds - 1));
  print(totals, passed());
  std::vector<std::string_view> missing = totals.coverage.missing();
  for (std::string_view state : missing) {
    std::printf("never reached: %s\n", std::string(state).c_str());
  }
  return timed && !missing.empty() ? 1 : 0;
}

#ifdef WAYBILL_MUTANTS
std::uint64_t seed_running = 0;

/// An assertion of the broker catches a mutant too.
extern "C" void on_abort(int) {
  char text[64];
  int size = std::snprintf(text, sizeof text, "caught %llu an assertion of the broker\n",
                           static_cast<unsigned long long>(seed_running));
  if (size > 0 && write(STDOUT_FILENO, text, static_cast<std::size_t>(size)) < 0) _exit(3);
  _exit(0);
}

int run_mutant(const std::string& name) {
  const Mutant* mutant = std::ranges::find(kMutants, name, &Mutant::name);
  if (mutant == std::end(kMutants)) {
    std::fprintf(stderr, "there is no mutant \"%s\"; see --mutants\n", name.c_str());
    return 2;
  }
  chosen_mutant() = name;
  std::signal(SIGABRT, on_abort);
  for (seed_running = 1; seed_running <= mutant->seeds; ++seed_running) {
    SimResult result = simulate(seed_running);
    if (!result.finding) continue;
    std::printf("caught %llu %s\n", static_cast<unsigned long long>(seed_running),
                result.finding->property.c_str());
    return 0;
  }
  std::printf("survived %llu\n", static_cast<unsigned long long>(mutant->seeds));
  return 1;
}
#else
int run_mutant(const std::string&) {
  std::fprintf(stderr, "mutants live in wb_mutants only: build that target\n");
  return 2;
}
#endif

int list_mutants() {
  for (const Mutant& mutant : kMutants) {
    std::printf("%s\t%s\t%llu\n", std::string(mutant.name).c_str(),
                std::string(mutant.what).c_str(), static_cast<unsigned long long>(mutant.seeds));
  }
  return 0;
}

}  // namespace
}  // namespace waybill

int main(int count, char** arguments) {
  waybill::Options options = waybill::parse(count, arguments);
  if (!options.valid) {
    std::fprintf(stderr,
                 "usage: wb_sim --seed N [--trace] | --seeds A..B | --minutes M [--from A]\n");
    return 2;
  }
  if (options.list_mutants) return waybill::list_mutants();
  if (!options.mutant.empty()) return waybill::run_mutant(options.mutant);
  if (options.trace) return waybill::run_traced(options.first);
  return waybill::run_seeds(options);
}
