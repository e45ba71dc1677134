// From the words of a command line to a command, or to what to say instead of running one.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "tools/commands.h"
#include "tools/console.h"

namespace waybill::cli {

struct GlobalOptions {
  std::string broker = "127.0.0.1:7450";
  std::string user;
  std::string token_file;
  OutputFormat format = OutputFormat::kText;
  bool quiet = false;
};

struct CommandLine {
  GlobalOptions global;
  Command command;
};

/// Help or the version (for stdout, exit code 0), or what is wrong (for stderr, exit code 2).
struct CommandLineEnd {
  ExitCode code = ExitCode::kUsage;
  std::string text;
};

/// What the process knows and a test decides.
struct CommandLineEnvironment {
  std::string broker;  ///< $WAYBILL_BROKER, empty if unset
  WallTime now;        ///< for times such as now-10m
  std::string user{};  ///< $WAYBILL_USER, empty if unset
};

/// `words` without the program's name.
std::variant<CommandLine, CommandLineEnd> parse_command_line(
    std::vector<std::string> words, const CommandLineEnvironment& environment);

}  // namespace waybill::cli
