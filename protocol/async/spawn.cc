#include "protocol/async/spawn.h"

#include <atomic>
#include <cstdio>

namespace waybill {
namespace {

void report_to_stderr(const char* task_name, const char* what) {
  std::fprintf(stderr, "waybill: task '%s' ended by an exception: %s\n", task_name, what);
}

std::atomic<ExceptionReporter> reporter{report_to_stderr};

}  // namespace

ExceptionReporter set_exception_reporter(ExceptionReporter replacement) {
  return reporter.exchange(replacement != nullptr ? replacement : report_to_stderr);
}

void report_exception(const char* task_name, const std::exception_ptr& exception) noexcept {
  ExceptionReporter report = reporter.load();
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    report(task_name, error.what());
  } catch (...) {
    report(task_name, "not a std::exception");
  }
}

}  // namespace waybill
