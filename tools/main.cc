// waybill: the command line. It parses, runs one command and returns its exit code; everything else
// is in the library, so that tests can call it.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tools/broker_session.h"
#include "tools/command_line.h"
#include "tools/stop_signal.h"

namespace {

using namespace waybill::cli;

/// Empty if unset.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

int run_main(std::vector<std::string> words) {
  CommandLineEnvironment environment{variable("WAYBILL_BROKER"), waybill::SystemClock().wall(),
                                     variable("WAYBILL_USER")};
  auto parsed = parse_command_line(std::move(words), environment);
  ConsoleStreams streams = process_streams();
  if (auto* end = std::get_if<CommandLineEnd>(&parsed)) {
    if (end->code == ExitCode::kOk) {
      streams.out(end->text);
    } else {
      streams.err(end->text);
    }
    return static_cast<int>(end->code);
  }
  auto& line = std::get<CommandLine>(parsed);
  Console console(std::move(streams), line.global.format, line.global.quiet);
  Checked<Credentials> credentials =
      find_credentials(line.global.user, line.global.token_file, variable("WAYBILL_TOKEN"));
  if (!credentials) {
    console.complain(credentials.error().text);
    return static_cast<int>(ExitCode::kUsage);
  }
  BrokerSession session(console, line.global.broker, std::move(*credentials));
  ExitCode code =
      std::visit([&](const auto& command) { return run(command, session); }, line.command);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  waybill::cli::StopSignal::ignore_broken_pipes();
  try {
    return run_main({argv + 1, argv + argc});
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "error: %s\n", failure.what());
    return static_cast<int>(waybill::cli::ExitCode::kFailed);
  }
}
